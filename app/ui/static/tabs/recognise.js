// Drop or record clips: what is heard in them, and what they are like.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { Duplicates, Neighbours } from "../components/alike.js";
import { ClipBody } from "../components/clip_body.js";
import { LAST, words } from "../components/filters.js";
import { Loaded, Note } from "../components/notes.js";
import { RecorderButton } from "../components/recorder_button.js";
import { Emotion } from "../components/scores.js";
import { UploadTable } from "../components/upload_table.js";
import { html } from "../html.js";
import { bytes, duration, t } from "../language.js";
import { useLoad } from "../loading.js";
import { address } from "../route.js";
import { store } from "../store.js";
import { add, uploads } from "../uploads.js";

const CHANNELS = ["mix", "left", "right", "split"];
const FORMATS = ".wav,.mp3,.m4a,.mp4,.aac,.flac,.ogg,.oga,.opus,audio/*";

const chosen = store(null); // id of the upload that is shown

export default function Recognise({ status }) {
  const all = uploads.use();
  const picked = chosen.use();
  const form = useRef();
  const limits = status.value?.limits;

  const take = (files) => {
    if (!files.length) return;
    if (!form.current.checkValidity()) {
      form.current.closest("details").open = true;
      form.current.reportValidity(); // a date that is half typed would be no date
      return;
    }
    const ids = add(files, fieldsOf(form.current), limits);
    chosen.set(ids[0]);
  };
  const shown = all.find((one) => one.id === picked) ?? all.at(-1);

  return html`
    <${Drop} limits=${limits} take=${take} />
    <${Said} form=${form} />
    ${all.length > 0 && html`<${UploadTable} uploads=${all} shown=${shown?.id} show=${(id) => chosen.set(id)} />`}
    ${shown?.answer && html`<${Result} key=${shown.id} answer=${shown.answer} name=${shown.file.name} />`}
  `;
}

function Drop({ limits, take }) {
  const [over, setOver] = useState(false);
  const input = useRef();
  // A file that misses the area must not replace the page.
  useEffect(() => {
    const keep = (event) => event.preventDefault();
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    return () => {
      removeEventListener("dragover", keep);
      removeEventListener("drop", keep);
    };
  }, []);
  return html`<section
    class=${`card drop ${over ? "over" : ""}`}
    aria-label=${t("recognise.drop")}
    onDragOver=${() => setOver(true)}
    onDragLeave=${() => setOver(false)}
    onDrop=${(event) => {
      setOver(false);
      take(event.dataTransfer.files);
    }}
  >
    <p><strong>${t("recognise.drop")}</strong></p>
    <div class="buttons">
      <button class="main" onClick=${() => input.current.click()}>${t("recognise.choose")}</button>
      <${RecorderButton} limits=${limits} onFile=${(file) => take([file])} />
    </div>
    <input
      ref=${input}
      type="file"
      hidden
      multiple
      accept=${FORMATS}
      aria-label=${t("recognise.choose")}
      onChange=${(event) => {
        take(event.currentTarget.files);
        event.currentTarget.value = ""; // so that the same file can be chosen again
      }}
    />
    <p class="dim">
      WAV, MP3, M4A, FLAC, OGG.
      ${limits &&
      ` ${t("recognise.limits", { size: bytes(limits.upload_bytes), length: duration(limits.seconds) })}`}
    </p>
  </section>`;
}

const NOTHING = { index: "on" };
let remembered = NOTHING; // what was typed, for when the visitor comes back to this tab

/** What is said of the files: kept with each that is sent from now on. */
function Said({ form }) {
  const [emptied, setEmptied] = useState(0); // times, each with a new form
  const before = useMemo(() => remembered, [emptied]);
  const empty = () => {
    remembered = NOTHING;
    setEmptied(emptied + 1);
  };
  const [open] = useState(Object.values(before).filter(Boolean).length > 2); // at first; then as it is left
  return html`<details class="card" open=${open}>
    <summary>${t("recognise.said")}</summary>
    <p class="dim">${t("recognise.said_of_all")}</p>
    <form
      key=${emptied}
      ref=${form}
      class="fields"
      onSubmit=${(event) => event.preventDefault()}
      onInput=${(event) => (remembered = Object.fromEntries(new FormData(event.currentTarget)))}
    >
      ${["customer_id", "agent_id", "call_id"].map(
        (name) => html`<label>${t(`field.${name}`)}<input name=${name} maxlength="200" defaultValue=${before[name]} /></label>`,
      )}
      <label>${t("field.recorded_at")}<input type="datetime-local" name="recorded_at" max=${LAST} defaultValue=${before.recorded_at} /></label>
      <label>${t("field.tags")}<input name="tags" placeholder=${t("recognise.tags_hint")} defaultValue=${before.tags} /></label>
      <label>
        ${t("field.channel")}
        <select name="channel">
          ${CHANNELS.map((name) => html`<option value=${name} selected=${name === before.channel}>${t(`channel.${name}`)}</option>`)}
        </select>
      </label>
      <label class="check"><input type="checkbox" name="index" defaultChecked=${Boolean(before.index)} />${t("recognise.index")}</label>
      <button type="button" data-action="empty" onClick=${empty}>${t("recognise.said_reset")}</button>
    </form>
  </details>`;
}

/** The form's fields as the API takes them. */
function fieldsOf(form) {
  const given = new FormData(form);
  const fields = { channel: given.get("channel"), index: String(given.has("index")) };
  for (const name of ["customer_id", "agent_id", "call_id"]) {
    const said = given.get(name).trim();
    if (said) fields[name] = said;
  }
  const tags = words(given.get("tags"));
  if (tags.length) fields.tags = tags;
  const at = given.get("recorded_at");
  if (at) fields.recorded_at = new Date(at).toISOString();
  return fields;
}

function Result({ answer, name }) {
  const id = answer.clip_id;
  const clip = useLoad((signal) => get(`/clips/${id}`, {}, { signal }), [id]);
  const right = answer.channels?.right;
  return html`<${Loaded} from=${clip}>
    ${(found) => html`
      <section class="card" data-part="result" data-clip=${id}>
        <h2><${Emotion} label=${answer.emotion} share=${answer.confidence} /> · ${name}</h2>
        <p>
          ${t("recognise.stored_as")} <a href=${address("clip", id)}>${t("clip.name", { id: String(id) })}</a>
          ${right &&
          html` · ${t("recognise.right")}
            <a href=${address("clip", right.clip_id)}>${t("clip.name", { id: String(right.clip_id) })}</a>
            <${Emotion} label=${right.emotion} share=${right.confidence} />`}
        </p>
        ${answer.warnings.length > 0 &&
        html`<${Note} kind="warning"><ul lang="en">${answer.warnings.map((one) => html`<li>${one}</li>`)}</ul><//>`}
        <${ClipBody} clip=${found} told=${answer} />
      </section>
      ${answer.indexed && html`<${Neighbours} clipId=${id} />`}
      <${Duplicates} clipId=${id} />
    `}
  <//>`;
}
