// One clip: its sound, scores, facts, neighbours and duplicates.

import { useState } from "preact/hooks";
import { ApiError, get, patch, remove } from "../api.js";
import { Duplicates, Neighbours } from "../components/alike.js";
import { ClipBody } from "../components/clip_body.js";
import { confirmed } from "../components/dialogs.js";
import { LAST, fromLocal, toLocal, words } from "../components/filters.js";
import { ErrorNote, Loaded, tell } from "../components/notes.js";
import { Emotion } from "../components/scores.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { address, go } from "../route.js";

export default function ClipTab({ route }) {
  const known = /^\d+$/.test(route.id ?? "");
  return html`
    <p><a href=${address("library")}>← ${t("nav.library")}</a></p>
    ${known ? html`<${Clip} key=${route.id} id=${route.id} />` : html`<${ErrorNote} error=${new ApiError("not-found")} />`}
  `;
}

function Clip({ id }) {
  const clip = useLoad((signal) => get(`/clips/${id}`, {}, { signal }), []);
  return html`<${Loaded} from=${clip}>${(found) => html`<${ClipView} clip=${found} reload=${clip.reload} />`}<//>`;
}

function ClipView({ clip, reload }) {
  const id = clip.clip_id;
  const [editing, setEditing] = useState(false);
  const [forget, forgetting] = useAction(async () => {
    const agreed = await confirmed(
      t("clip.delete_title", { id: String(id) }),
      t("clip.delete_text"),
      t("action.delete"),
    );
    if (!agreed) return;
    await remove(`/clips/${id}`);
    tell(t("library.deleted", { count: 1 }));
    go("library");
  });
  return html`
    <section class="card" data-part="clip">
      <div class="row spread">
        <h2>${t("clip.name", { id: String(id) })} <${Emotion} label=${clip.emotion} share=${clip.confidence} /></h2>
        <span class="buttons">
          <button onClick=${() => setEditing(!editing)} aria-expanded=${String(editing)}>${t("action.edit")}</button>
          <button class="danger" disabled=${forgetting.busy} onClick=${forget}>${t("action.delete")}</button>
        </span>
      </div>
      <${ErrorNote} error=${forgetting.error} />
      ${editing && html`<${Edit} clip=${clip} done=${() => (setEditing(false), reload())} />`}
      <${ClipBody} clip=${clip} />
    </section>
    ${clip.indexed && html`<${Neighbours} clipId=${id} />`}
    <${Duplicates} clipId=${id} />
  `;
}

/** The fields as they are in the form at first. */
const shown = (clip) => ({
  customer_id: clip.customer_id ?? "",
  agent_id: clip.agent_id ?? "",
  call_id: clip.call_id ?? "",
  recorded_at: toLocal(clip.recorded_at),
  tags: clip.tags.join(", "),
});

function Edit({ clip, done }) {
  const [save, saving] = useAction(async (form) => {
    const changes = {};
    // Only what was changed here: a tag may hold a comma, and others may change the clip, too.
    for (const [name, text] of new FormData(form)) {
      if (text === shown(clip)[name]) continue;
      const parse = { tags: words, recorded_at: fromLocal }[name] ?? ((one) => one.trim());
      changes[name] = name === "tags" ? parse(text) : parse(text) || null;
    }
    if (Object.keys(changes).length) {
      await patch(`/clips/${clip.clip_id}`, changes);
      tell(t("clip.changed"));
    }
    done();
  });
  return html`<form
    class="fields"
    onSubmit=${(event) => {
      event.preventDefault();
      save(event.currentTarget);
    }}
  >
    ${["customer_id", "agent_id", "call_id"].map(
      (name) => html`<label>${t(`field.${name}`)}<input name=${name} maxlength="200" defaultValue=${shown(clip)[name]} /></label>`,
    )}
    <label>
      ${t("field.recorded_at")}
      <input type="datetime-local" name="recorded_at" max=${LAST} defaultValue=${shown(clip).recorded_at} />
    </label>
    <label>${t("field.tags")}<input name="tags" defaultValue=${shown(clip).tags} /></label>
    <p class="buttons"><button class="main" disabled=${saving.busy}>${t("action.save")}</button></p>
    <${ErrorNote} error=${saving.error} />
  </form>`;
}
