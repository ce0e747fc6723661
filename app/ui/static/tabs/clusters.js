// Groups of clips that are alike: runs, how far they are, and what they found.

import { useEffect, useRef, useState } from "preact/hooks";
import { get, post, remove } from "../api.js";
import { ClusterRun } from "../components/cluster_run.js";
import { confirmed } from "../components/dialogs.js";
import { FilterForm, inBody } from "../components/filters.js";
import { ErrorNote, Loaded, Note, tell } from "../components/notes.js";
import { html } from "../html.js";
import { instant, t } from "../language.js";
import { isUnderWay, useAction, useEvery, useLoad } from "../loading.js";
import { go } from "../route.js";

const RUNS = 100;

export default function Clusters({ route }) {
  const runs = useLoad((signal) => get("/clusters", { limit: RUNS }, { signal }), []);
  return html`<${Loaded} from=${runs}>
    ${({ runs: found }) => {
      const id = route.id ?? (found[0] ? String(found[0].id) : null);
      return html`
        <${Begin} runs=${found} begun=${runs.reload} open=${found.length === 0} />
        ${found.length > 0 &&
        html`<p class="row">
          <label>
            ${t("clusters.run")}
            <select data-choice="run" value=${id} onChange=${(event) => go("clusters", event.currentTarget.value)}>
              ${found.some((run) => String(run.id) === id) || html`<option value=${id}>${id}</option>`}
              ${found.map(
                (run) => html`<option value=${String(run.id)}>
                  ${`${run.id} · ${run.algorithm} · ${instant(run.created)} · ${t(`clusters.state_${run.state}`)}`}
                </option>`,
              )}
            </select>
          </label>
        </p>`}
        ${id !== null && html`<${Run} key=${id} id=${id} changed=${runs.reload} />`}
      `;
    }}
  <//>`;
}

function Begin({ runs, begun, open }) {
  const [filters, setFilters] = useState({});
  const [algorithm, setAlgorithm] = useState("hdbscan");
  const [begin, beginning] = useAction(async (form) => {
    const given = new FormData(form);
    const run = await post("/clusters", {
      algorithm,
      n_clusters: algorithm === "kmeans" && given.get("n_clusters") ? Number(given.get("n_clusters")) : null,
      seed: Number(given.get("seed") || 0),
      previous: given.get("previous") ? Number(given.get("previous")) : null,
      filters: inBody(filters),
    });
    go("clusters", run.id);
    begun();
  });
  return html`<details class="card" open=${open}>
    <summary>${t("clusters.new")}</summary>
    <p class="dim">${t("clusters.about")}</p>
    <form
      data-form="clusters"
      class="fields"
      id="begin-clusters"
      onSubmit=${(event) => {
        event.preventDefault();
        begin(event.currentTarget);
      }}
    >
      <label>
        ${t("clusters.algorithm")}
        <select name="algorithm" value=${algorithm} onChange=${(event) => setAlgorithm(event.currentTarget.value)}>
          <option value="hdbscan">HDBSCAN: ${t("clusters.hdbscan")}</option>
          <option value="kmeans">k-means: ${t("clusters.kmeans")}</option>
        </select>
      </label>
      ${algorithm === "kmeans" &&
      html`<label>${t("clusters.n_clusters")}<input name="n_clusters" type="number" min="2" max="200" placeholder=${t("clusters.chosen")} /></label>`}
      <label>${t("clusters.seed")}<input name="seed" type="number" min="0" max="2147483647" defaultValue="0" /></label>
      <label>
        ${t("clusters.previous")}
        <select name="previous">
          <option value="">${t("clusters.no_previous")}</option>
          ${runs.filter((run) => run.state === "done").map((run) => html`<option value=${run.id}>${run.id} · ${instant(run.created)}</option>`)}
        </select>
      </label>
    </form>
    <${FilterForm} filters=${filters} onChange=${setFilters} counts=${false} />
    <p class="buttons">
      <button class="main" form="begin-clusters" disabled=${beginning.busy}>${t("clusters.begin")}</button>
      ${Object.keys(filters).length > 0 && html`<span class="dim">${t("clusters.filtered")}</span>`}
    </p>
    <${ErrorNote} error=${beginning.error} />
  </details>`;
}

function Run({ id, changed }) {
  const run = useLoad((signal) => get(`/clusters/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  const underWay = run.value !== null && isUnderWay(run.value);
  useEvery(1, underWay, run.poll);
  const was = useRef(false);
  useEffect(() => {
    if (was.current && !underWay) changed(); // the list of runs says so, too
    was.current = underWay;
  }, [underWay]);
  const [forget, forgetting] = useAction(async () => {
    const agreed = await confirmed(t("clusters.delete_title", { id }), t("clusters.delete_text"), t("action.delete"));
    if (!agreed) return;
    await remove(`/clusters/${encodeURIComponent(id)}`);
    tell(t("clusters.deleted"));
    go("clusters");
    changed();
  });
  return html`<${Loaded} from=${run}>
    ${(found) => html`
      <section data-part="run" data-state=${found.state}>
        ${isUnderWay(found) && html`<${Progress} run=${found} />`}
        ${found.state === "failed" && html`<${Note} kind="error"><p>${t("clusters.failed")} <q lang="en">${found.message}</q></p><//>`}
        ${found.state === "done" && html`<${ClusterRun} run=${found} />`}
        <p class="buttons">
          <button class="danger" disabled=${forgetting.busy} onClick=${forget}>
            ${t(isUnderWay(found) ? "clusters.stop" : "clusters.delete")}
          </button>
        </p>
        <${ErrorNote} error=${forgetting.error} />
      </section>
    `}
  <//>`;
}

function Progress({ run }) {
  const step = run.state === "queued" ? t("clusters.state_queued") : t(`clusters.step_${run.step ?? "reading"}`);
  return html`<div class="card" role="status">
    <p><strong>${step}</strong></p>
    <progress max=${run.total || 1} value=${run.step === "reading" ? run.done : undefined} aria-label=${step}></progress>
  </div>`;
}
