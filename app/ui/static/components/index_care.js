// Looking after the index: built anew, compared with the database, mended.

import { useState } from "preact/hooks";
import { post } from "../api.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { useAction } from "../loading.js";
import { address } from "../route.js";
import { confirmed } from "./dialogs.js";
import { ErrorNote, Note, tell } from "./notes.js";

/** `rebuilds` is called when a rebuild was begun. */
export function IndexCare({ rebuilds }) {
  const [answer, setAnswer] = useState(null); // of the last check
  const agreed = (what) => confirmed(t(`status.${what}_title`), t(`status.${what}_text`), t(`status.${what}`));
  const [rebuild, rebuilding] = useAction(async () => {
    if (!(await agreed("rebuild"))) return;
    await post("/admin/reindex", {});
    setAnswer(null);
    rebuilds();
    tell(t("status.rebuild_begun"));
  });
  const [check, checking] = useAction(async (repair) => {
    if (!(await agreed(repair ? "repair" : "check"))) return;
    setAnswer(await post("/admin/index/check", undefined, { params: { repair } }));
  });
  const state = answer?.left ?? answer?.found;
  return html`<section class="card" data-part="care" aria-labelledby="status-care">
    <h2 id="status-care">${t("status.part.care")}</h2>
    <p class="buttons">
      <button data-action="rebuild" disabled=${rebuilding.busy} onClick=${rebuild}>${t("status.rebuild")}</button>
      <button data-action="check" disabled=${checking.busy} onClick=${() => check(false)}>${t("status.check")}</button>
      ${state && !state.clean &&
      html`<button class="main" data-action="repair" disabled=${checking.busy} onClick=${() => check(true)}>
        ${t("status.repair")}
      </button>`}
    </p>
    <div role="status">
      ${checking.busy && html`<p class="dim" aria-busy="true">${t("status.checking")}</p>`}
      ${answer?.repair && html`<${Note}><p>${t(answer.repair.rebuilt ? "status.rebuilt" : "status.repaired", answer.repair)}</p><//>`}
      ${state && html`<${Found} found=${state} />`}
    </div>
    <${ErrorNote} error=${rebuilding.error ?? checking.error} />
  </section>`;
}

/** What a check found, in words. */
function Found({ found: { clean, compared, faults, misplaced } }) {
  if (clean) return html`<${Note}><p data-check="clean">${t("status.clean", { count: compared })}</p><//>`;
  return html`<${Note} kind="warning">
    <p data-check="faults">${t("status.faulty", { count: compared })}</p>
    <ul>
      ${Object.entries(faults)
        .filter(([, { count }]) => count > 0)
        .map(
          ([kind, { count, clip_ids: ids }]) => html`<li>
            ${t(`status.fault.${kind}`, { count })}${" "}
            ${ids.map((id) => html`<a href=${address("clip", id)}>${String(id)}</a> `)}${count > ids.length ? "…" : ""}
          </li>`,
        )}
      ${misplaced > 0 && html`<li>${t("status.misplaced", { count: misplaced })}</li>`}
    </ul>
  <//>`;
}
