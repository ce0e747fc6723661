// Reports: have one made now, find those that were made, and the schedules that make them.

import { useState } from "preact/hooks";
import { get, post, remove } from "../api.js";
import { confirmed } from "../components/dialogs.js";
import { ErrorNote, Loaded, Note, tell } from "../components/notes.js";
import { FilterTags, periodInWords } from "../components/filter_words.js";
import { html } from "../html.js";
import { instant, t } from "../language.js";
import { isUnderWay, useAction, useEvery, useLoad } from "../loading.js";
import { address } from "../route.js";
import ReportTab from "./report.js";
import { NOTHING, ReportFields, inReport } from "./report_form.js";
import { Schedules } from "./schedules.js";

const PAGE = 20;

export default function Reports({ route }) {
  if (route.id) return html`<${ReportTab} key=${route.id} id=${route.id} />`;
  return html`<${Overview} />`;
}

function Overview() {
  const [asked, setAsked] = useState(null); // id of the report that was asked for last
  const [before, setBefore] = useState([]); // cursors of the pages up to this one
  const cursor = before.at(-1) ?? null;
  const page = useLoad((signal) => get("/reports", { limit: PAGE, cursor }, { signal }), [cursor]);
  useEvery(2, page.value?.reports.some(isUnderWay) ?? false, page.poll);
  const followed = page.value?.reports.find((one) => one.id === asked);
  const begun = ({ id }) => {
    setAsked(id);
    setBefore([]);
    page.reload();
  };

  return html`
    <${RunNow} begun=${begun} />
    <div role="status">${followed && html`<${Followed} report=${followed} />`}</div>
    <section class="card" aria-labelledby="reports-list">
      <h2 id="reports-list">${t("reports.list")}</h2>
      <${Loaded} from=${page}>
        ${({ reports, next_cursor: next }) => html`
          ${reports.length
            ? html`<${ReportTable} reports=${reports} reload=${page.reload} />`
            : html`<p class="dim">${t("reports.none")}</p>`}
          ${(before.length > 0 || next) &&
          html`<p class="row">
            <button disabled=${!before.length} onClick=${() => setBefore(before.slice(0, -1))}>${t("action.newer")}</button>
            <button data-next disabled=${!next} onClick=${() => setBefore([...before, next])}>${t("action.older")}</button>
          </p>`}
        `}
      <//>
    </section>
    <${Schedules} />
  `;
}

function RunNow({ begun }) {
  const [draft, setDraft] = useState(NOTHING);
  const [run, running] = useAction(async () => {
    begun(await post("/reports", inReport(draft)));
    setDraft(NOTHING);
  });
  return html`<form
    class="card"
    data-form="report"
    aria-labelledby="reports-run"
    onSubmit=${(event) => {
      event.preventDefault();
      run();
    }}
  >
    <h2 id="reports-run">${t("reports.run")}</h2>
    <p class="dim">${t("reports.run_means")}</p>
    <${ReportFields} draft=${draft} onChange=${setDraft} />
    <p class="buttons"><button class="main" disabled=${running.busy}>${t("reports.run_action")}</button></p>
    <${ErrorNote} error=${running.error} />
  </form>`;
}

/** What became of the report that was asked for just now. */
function Followed({ report: { id, name, state, message } }) {
  return html`<${Note} kind=${state === "failed" ? "error" : "info"}>
    <p>
      <strong>${name}</strong>: ${t(`reports.state.${state}`)}
      ${state === "done" && html` · <a href=${address("reports", id)}>${t("reports.read")}</a>`}
    </p>
    ${message && html`<p lang="en">${message}</p>`}
  <//>`;
}

function ReportTable({ reports, reload }) {
  const [forget, forgetting] = useAction(async ({ id, name }) => {
    if (!(await confirmed(t("reports.delete_title", { name }), t("reports.delete_text"), t("action.delete")))) return;
    await remove(`/reports/${id}`);
    tell(t("reports.deleted"));
    reload();
  });
  return html`
    <${ErrorNote} error=${forgetting.error} />
    <div class="scroll" tabindex="0" role="region" aria-labelledby="reports-list">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("reports.name")}</th>
            <th scope="col">${t("reports.period")}</th>
            <th scope="col">${t("reports.made")}</th>
            <th scope="col">${t("field.state")}</th>
            <th scope="col"><span class="unseen">${t("action.delete")}</span></th>
          </tr>
        </thead>
        <tbody>
          ${reports.map(
            (one) => html`<tr key=${one.id} data-report=${one.id} data-state=${one.state}>
              <th scope="row">
                <a href=${address("reports", one.id)}>${one.name}</a>
                ${one.schedule_id !== null && html` <span class="dim">${t("reports.scheduled")}</span>`}
              </th>
              <td>${periodInWords(one.filters)} <${FilterTags} filters=${one.filters} /></td>
              <td>${instant(one.created)}</td>
              <td>
                ${t(`reports.state.${one.state}`)}
                ${one.message && html`<div class="dim" lang="en">${one.message}</div>`}
              </td>
              <td>
                <button
                  class="small danger"
                  aria-label=${t("reports.delete_this", { name: one.name })}
                  disabled=${forgetting.busy}
                  onClick=${() => forget(one)}
                >
                  ${t("action.delete")}
                </button>
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  `;
}
