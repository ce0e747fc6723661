// One clip: its sound, scores, facts, neighbours and duplicates.

import { useState } from "preact/hooks";
import { get, patch, remove } from "../api.js";
import { Duplicates, Neighbours } from "../components/alike.js";
import { ClipBody } from "../components/clip_body.js";
import { confirmed } from "../components/dialogs.js";
import { words } from "../components/filters.js";
import { ErrorNote, Loaded, tell } from "../components/notes.js";
import { Emotion } from "../components/scores.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { address, go } from "../route.js";

export default function ClipTab({ route }) {
  const id = route.id ?? "";
  const clip = useLoad((signal) => get(`/clips/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  return html`
    <p><a href=${address("library")}>← ${t("nav.library")}</a></p>
    <${Loaded} from=${clip}>${(found) => html`<${ClipView} key=${id} clip=${found} reload=${clip.reload} />`}<//>
  `;
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

function Edit({ clip, done }) {
  const [save, saving] = useAction(async (form) => {
    const given = new FormData(form);
    const said = (name) => given.get(name).trim() || null;
    await patch(`/clips/${clip.clip_id}`, {
      customer_id: said("customer_id"),
      agent_id: said("agent_id"),
      call_id: said("call_id"),
      tags: words(given.get("tags")),
    });
    tell(t("clip.changed"));
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
      (name) => html`<label>${t(`field.${name}`)}<input name=${name} maxlength="200" defaultValue=${clip[name] ?? ""} /></label>`,
    )}
    <label>${t("field.tags")}<input name="tags" defaultValue=${clip.tags.join(", ")} /></label>
    <p class="buttons"><button class="main" disabled=${saving.busy}>${t("action.save")}</button></p>
    <${ErrorNote} error=${saving.error} />
  </form>`;
}
