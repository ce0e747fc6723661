// All stored clips, by the filters of the API, newest first.

import { useState } from "preact/hooks";
import { get, remove } from "../api.js";
import { ClipTable } from "../components/clip_table.js";
import { confirmed } from "../components/dialogs.js";
import { filtersInWords } from "../components/filter_words.js";
import { FilterForm, filtersOf } from "../components/filters.js";
import { ErrorNote, Loaded, tell } from "../components/notes.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { go } from "../route.js";

const PAGE = 50;

export default function Library({ route }) {
  const filters = filtersOf(route.params);
  const told = JSON.stringify(filters);
  const [cursors, setCursors] = useState({ of: told, before: [] }); // of the pages up to this one
  const before = cursors.of === told ? cursors.before : [];
  const cursor = before.at(-1) ?? null;
  const page = useLoad(
    (signal) => get("/clips", { ...filters, limit: PAGE, cursor }, { signal }),
    [told, cursor],
  );
  const count = useLoad((signal) => get("/clips/count", filters, { signal }), [told]);
  const [forget, forgetting] = useAction(async () => {
    const { count: many } = await get("/clips/count", filters); // now, and of these filters
    const text = t("library.delete_text", { count: many, filters: filtersInWords(filters) });
    if (!(await confirmed(t("library.delete_title"), text, t("action.delete")))) return;
    const { deleted } = await remove("/clips", filters);
    tell(t("library.deleted", { count: deleted }));
    page.reload();
    count.reload();
  });
  const turn = (pages) => {
    setCursors({ of: told, before: pages });
    document.getElementById("clips").scrollIntoView();
  };
  const filtered = Object.keys(filters).length > 0;

  return html`
    <${FilterForm} filters=${filters} onChange=${(changed) => go("library", null, changed)} />
    <section id="clips" class="card" aria-labelledby="clips-count">
      <div class="row spread">
        <h2 id="clips-count" data-count=${count.value?.count}>
          ${count.value && !count.loading ? t("library.count", { count: count.value.count }) : "…"}
        </h2>
        ${filtered && count.value?.count > 0 &&
        html`<button class="danger" disabled=${forgetting.busy} onClick=${forget}>${t("library.delete_all")}</button>`}
      </div>
      <${ErrorNote} error=${forgetting.error} />
      <${Loaded} from=${page}>
        ${({ clips, next_cursor: next }) => html`
          ${clips.length
            ? html`<${ClipTable} clips=${clips} label=${t("nav.library")} />`
            : html`<p class="dim">${t(filtered ? "library.none_match" : "library.empty")}</p>`}
          <p class="row">
            <button disabled=${!before.length} onClick=${() => turn(before.slice(0, -1))}>${t("action.newer")}</button>
            <button data-next disabled=${!next} onClick=${() => turn([...before, next])}>${t("action.older")}</button>
          </p>
        `}
      <//>
    </section>
  `;
}
