// What the page tells: errors as sentences with what to do, and short notes that go by themselves.

import { html } from "../html.js";
import { has, t } from "../language.js";
import { store } from "../store.js";

const shown = store([]);
let last = 0;

/** Tells the visitor, also one who does not see, that something was done. */
export function tell(text) {
  const note = { id: ++last, text };
  shown.set((notes) => [...notes, note]);
  setTimeout(() => shown.set((notes) => notes.filter((one) => one !== note)), 6000);
}

export function Toasts() {
  const notes = shown.use();
  return html`<div class="toasts" role="status" aria-live="polite">
    ${notes.map((note) => html`<p key=${note.id}>${note.text}</p>`)}
  </div>`;
}

/**
 * {what, detail, todo} of an error: a sentence, the service's own words, and what to do.
 * again: whether the page asks again by itself, where the service has said when.
 */
export function inWords(error, again = false) {
  const type = has(`error.${error.type}`) ? error.type : "unknown";
  return {
    what: t(`error.${type}`, { status: error.status }),
    detail: error.detail,
    todo: error.retryAfter ? t(again ? "todo.by_itself" : "todo.later", { seconds: error.retryAfter }) : t(`todo.${type}`),
  };
}

export function ErrorNote({ error, retry, again }) {
  if (!error) return null;
  const { what, detail, todo } = inWords(error, again);
  return html`<div class="note error" role="alert" data-error=${error.type}>
    <p><strong>${what}</strong> ${todo}</p>
    ${detail && html`<p class="dim">${t("error.said")} <q lang="en">${detail}</q></p>`}
    ${retry && html`<p><button onClick=${retry}>${t("action.retry")}</button></p>`}
  </div>`;
}

export const Note = ({ kind = "info", children }) => html`<div class=${`note ${kind}`}>${children}</div>`;

/** What `useLoad` gave: the error, that it is loading, or the children of the value. */
export function Loaded({ from, children }) {
  if (from.error) return html`<${ErrorNote} error=${from.error} retry=${from.reload} again />`;
  if (from.value === null) return html`<p class="dim" aria-busy="true">${t("loading")}</p>`;
  return children(from.value);
}

/** For a clip that was deleted since it was told of. */
export function goneOnly(error) {
  if (error.status === 404) return null;
  throw error;
}
