// What a report made now and one of a schedule are asked for with: name, groups, which clips.

import { FilterForm, inBody } from "../components/filters.js";
import { html } from "../html.js";
import { t } from "../language.js";

export const NOTHING = { name: "", algorithm: "hdbscan", n_clusters: "", filters: {} };
const DAYS = [7, 30];
const DAY = 86_400_000;
const MINUTE = 60_000;

/** The fields as the API takes them; what is not given is left to the service. */
export const inReport = ({ name, algorithm, n_clusters, filters }) => ({
  name: name.trim() || undefined,
  settings: {
    algorithm,
    n_clusters: algorithm === "kmeans" && n_clusters ? Number(n_clusters) : undefined,
  },
  filters: inBody(filters),
});

export function ReportFields({ draft, onChange, period = true, children }) {
  const set = (changes) => onChange({ ...draft, ...changes });
  return html`
    <div class="fields">
      <label>
        ${t("reports.name")}
        <input
          name="name"
          maxlength="200"
          placeholder=${t("reports.name_default")}
          value=${draft.name}
          onInput=${(event) => set({ name: event.currentTarget.value })}
        />
      </label>
      ${children}
      <label>
        ${t("reports.algorithm")}
        <select
          name="algorithm"
          value=${draft.algorithm}
          onChange=${(event) => set({ algorithm: event.currentTarget.value })}
        >
          ${["hdbscan", "kmeans"].map((one) => html`<option value=${one}>${t(`reports.algorithms.${one}`)}</option>`)}
        </select>
      </label>
      ${draft.algorithm === "kmeans" &&
      html`<label>
        ${t("reports.n_clusters")}
        <input
          type="number"
          name="n_clusters"
          min="2"
          max="200"
          placeholder=${t("reports.n_clusters_default")}
          value=${draft.n_clusters}
          onInput=${(event) => set({ n_clusters: event.currentTarget.value })}
        />
      </label>`}
    </div>
    ${period && html`<${Period} filters=${draft.filters} onChange=${(filters) => set({ filters })} />`}
    <${FilterForm}
      filters=${draft.filters}
      onChange=${(filters) => set({ filters })}
      counts=${false}
      period=${period}
      within
    />
  `;
}

/** The usual periods; any other one is among the filters. */
function Period({ filters, onChange }) {
  const { since, until, ...others } = filters;
  const none = !since && !until;
  const days = since && until ? (new Date(until) - new Date(since)) / DAY : null;
  const last = (wanted) => {
    const now = Math.ceil(Date.now() / MINUTE) * MINUTE; // the fields of the filters show minutes
    const at = (time) => new Date(time).toISOString();
    onChange({ ...others, since: at(now - wanted * DAY), until: at(now) });
  };
  const choice = (name, words, checked, choose) => html`<label class="chip">
    <input type="radio" name="period" value=${name} checked=${checked} onChange=${choose} />${words}
  </label>`;
  return html`<fieldset class="chips">
    <legend>${t("reports.period")}</legend>
    ${choice("all", t("reports.period_all"), none, () => onChange(others))}
    ${DAYS.map((count) =>
      choice(String(count), t("reports.period_days", { count }), days === count, () => last(count)),
    )}
    <span class="dim">${t("reports.period_other")}</span>
  </fieldset>`;
}
