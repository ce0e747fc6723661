// What works in the background: the reindex, and cluster runs, reports and classifiers under way.

import { get, post } from "../api.js";
import { html } from "../html.js";
import { instant, t } from "../language.js";
import { isUnderWay, useAction, useEvery, useLoad } from "../loading.js";
import { address } from "../route.js";
import { confirmed } from "./dialogs.js";
import { ErrorNote } from "./notes.js";

const LOOKED_AT = 20; // of the newest runs and reports

/** reindex: the status's; the others are looked at every so many seconds. */
export function Jobs({ reindex, reload, every }) {
  // Each by itself, so that what fails leaves the others.
  const kinds = [useLoad(clusterRuns, []), useLoad(reports, []), useLoad(applies, [])];
  const refused = kinds.some((kind) => kind.error?.type === "unauthorised");
  useEvery(every, !refused, () => kinds.forEach((kind) => kind.poll()));
  const jobs = [...(reindex ? [ofReindex(reindex)] : []), ...kinds.flatMap((kind) => kind.value ?? [])];
  const loaded = kinds.some((kind) => kind.value !== null);
  return html`<section class="card" data-part="jobs" aria-labelledby="status-jobs">
    <h2 id="status-jobs">${t("status.part.jobs")}</h2>
    ${kinds.map((kind) => html`<${ErrorNote} error=${kind.error} retry=${kind.reload} />`)}
    ${jobs.length > 0 && html`<${JobTable} jobs=${jobs} reload=${reload} />`}
    ${loaded && jobs.length === 0 && html`<p class="dim">${t("status.no_jobs")}</p>`}
    ${!loaded && kinds.some((kind) => kind.loading) && html`<p class="dim" aria-busy="true">${t("loading")}</p>`}
  </section>`;
}

function JobTable({ jobs, reload }) {
  const [stop, stopping] = useAction(async () => {
    if (!(await confirmed(t("status.stop_title"), t("status.stop_text"), t("action.stop")))) return;
    await post("/admin/reindex/stop");
    reload();
  });
  return html`
    <${ErrorNote} error=${stopping.error} />
    <div class="scroll" tabindex="0" role="region" aria-labelledby="status-jobs">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("status.job.what")}</th>
            <th scope="col">${t("field.state")}</th>
            <th scope="col">${t("status.job.progress")}</th>
            <th scope="col">${t("status.job.begun")}</th>
          </tr>
        </thead>
        <tbody>
          ${jobs.map(
            (job) => html`<tr key=${job.key} data-job=${job.key} data-state=${job.state}>
              <th scope="row">${job.href ? html`<a href=${job.href}>${job.name}</a>` : job.name}</th>
              <td>
                ${t(`status.job_state.${job.state}`)}
                ${job.stoppable &&
                html` <button class="small" data-action="stop" disabled=${stopping.busy} onClick=${stop}>${t("action.stop")}</button>`}
                ${job.said && html`<div class="dim">${job.said}</div>`}
                ${job.message && html`<div class="dim" lang="en">${job.message}</div>`}
              </td>
              <td class="roomy"><${Progress} job=${job} /></td>
              <td>${instant(job.begun)}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  `;
}

function Progress({ job: { name, done, total } }) {
  if (!total) return "–";
  return html`
    <progress max=${total} value=${done} aria-label=${name}></progress>
    <div class="dim">${t("status.job.done_of", { done, total })}</div>
  `;
}

// Each kind of job as {key, name, href, state, said, message, done, total, begun}.

/** Of the reindex that is under way, or was the last one. */
function ofReindex({ kind, model, state, message, done, total, started, finished, summary }) {
  return {
    key: "reindex",
    name: t(`status.reindex.${kind}`, { model }),
    state,
    said: summary && t(`status.reindex_done.${kind}`, summary),
    message,
    done,
    total: finished === null ? total : 0,
    begun: started,
    stoppable: state === "running" && kind !== "drop",
  };
}

async function clusterRuns(signal) {
  const { runs } = await get("/clusters", { limit: LOOKED_AT }, { signal });
  return runs.filter(isUnderWay).map(({ id, state, step, message, done, total, created }) => ({
    key: `clusters-${id}`,
    name: t("status.job.clusters", { id: String(id) }),
    href: address("clusters", id),
    state,
    said: step && t(`status.step.${step}`),
    message,
    done: done ?? 0,
    total,
    begun: created,
  }));
}

async function reports(signal) {
  const found = await get("/reports", { limit: LOOKED_AT }, { signal });
  return found.reports.filter(isUnderWay).map(({ id, name, state, message, created }) => ({
    key: `report-${id}`,
    name: t("status.job.report", { name }),
    href: address("reports", id),
    state,
    message,
    begun: created,
  }));
}

/** Classifiers that score old clips. */
async function applies(signal) {
  const { classifiers } = await get("/classifiers", {}, { signal });
  return classifiers
    .filter(({ apply }) => apply?.state === "running")
    .map(({ id, name, apply: { state, message, done, total, started } }) => ({
      key: `classifier-${id}`,
      name: t("status.job.classifier", { name }),
      state,
      message,
      done,
      total,
      begun: started,
    }));
}
