// Files on their way to the service. They go on while the visitor looks at other tabs.

import { ApiError, send } from "./api.js";
import { store } from "./store.js";

const AT_ONCE = 4; // the service hears them in batches
const TRIES = 8; // of one file, where the service is away or lacks something
const LONGEST = 60; // seconds between two

/** {id, file, state: waiting | sending | done | failed, answer, error}, in the order they came. */
export const uploads = store([]);

let last = 0;
let sending = 0;

const change = (id, changes) =>
  uploads.set((all) => all.map((one) => (one.id === id ? { ...one, ...changes } : one)));

/**
 * Sends files with form fields, {customer_id: …, tags: [], …}. Those over the service's limit are
 * refused here: their bytes need not travel.
 */
export function add(files, fields, limits) {
  const added = Array.from(files, (file) => {
    const large = limits && file.size > limits.upload_bytes;
    const error = large ? new ApiError("too-large") : file.size === 0 ? new ApiError("no-audio") : null;
    return { id: ++last, file, fields, key: newKey(), state: error ? "failed" : "waiting", tries: 0, answer: null, error };
  });
  uploads.set((all) => [...all, ...added]);
  work();
  return added.map((one) => one.id);
}

/** A repeat with the same key is answered with the first answer, and stores nothing. */
const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Sends one that failed again, or all of them. */
export function again(id = null) {
  uploads.set((all) =>
    all.map((one) =>
      one.state === "failed" && (id === null || one.id === id) ? { ...one, state: "waiting", tries: 0, error: null } : one,
    ),
  );
  work();
}

/** Forgets those that are through, or one. What is on its way stays. */
export function clear(id = null) {
  uploads.set((all) =>
    all.filter((one) => (id !== null && one.id !== id) || one.state === "sending" || (id === null && one.state === "waiting")),
  );
}

function work() {
  while (sending < AT_ONCE) {
    const next = uploads.get().find((one) => one.state === "waiting" && !one.notBefore);
    if (!next) return;
    sending += 1;
    change(next.id, { state: "sending" });
    recognise(next).finally(() => {
      sending -= 1;
      work();
    });
  }
}

async function recognise(upload) {
  const form = new FormData();
  for (const [name, value] of Object.entries(upload.fields)) {
    for (const one of [value].flat()) form.append(name, one);
  }
  form.append("audio_file", upload.file, upload.file.name);
  try {
    const answer = await send("/emotion/recognize", form, { headers: { "Idempotency-Key": upload.key } });
    change(upload.id, { state: "done", answer, error: null });
  } catch (error) {
    const full = error.type === "queue-full"; // its turn comes
    const away = error.type === "unreachable" || error.type === "unavailable";
    const tries = upload.tries + 1;
    if (full || (away && tries < TRIES)) comeBack(upload.id, error, tries);
    else change(upload.id, { state: "failed", error });
  }
}

function comeBack(id, error, tries) {
  const seconds = Math.min(LONGEST, (error.retryAfter ?? 1) * 2 ** (tries - 1));
  change(id, { state: "waiting", notBefore: true, error: new ApiError(error.type, { ...error, retryAfter: seconds }), tries });
  setTimeout(() => {
    change(id, { notBefore: false });
    work();
  }, seconds * 1000);
}

addEventListener("beforeunload", (event) => {
  if (uploads.get().some((one) => one.state === "waiting" || one.state === "sending")) event.preventDefault();
});
