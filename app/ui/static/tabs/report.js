// One report: followed until it is done, then read.

import { useMemo } from "preact/hooks";
import { blob, get, remove, save, saveFrom } from "../api.js";
import { Chart } from "../components/chart.js";
import { confirmed } from "../components/dialogs.js";
import { ErrorNote, Loaded, Note, tell } from "../components/notes.js";
import { PlayButton } from "../components/player.js";
import { FilterTags, periodInWords } from "../components/filter_words.js";
import { EmotionMix, Swatch } from "../components/scores.js";
import { mark } from "../emotions.js";
import { html } from "../html.js";
import { day, emotionName, fixed, instant, number, percent, t } from "../language.js";
import { isUnderWay, useAction, useEvery, useLoad } from "../loading.js";
import { address, go } from "../route.js";

const MARKED = 8; // groups with a mark of their own
const CUSTOMERS = 3; // told of each group
const WEEK = 7 * 86_400_000;

export default function ReportTab({ id }) {
  const report = useLoad((signal) => get(`/reports/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  useEvery(2, report.value !== null && isUnderWay(report.value), report.poll);
  return html`
    <p><a href=${address("reports")}>← ${t("nav.reports")}</a></p>
    <${Loaded} from=${report}>
      ${(found) =>
        found.state === "done" ? html`<${Done} report=${found} />` : html`<${NotDone} report=${found} />`}
    <//>
  `;
}

function Heading({ report, children }) {
  const { id, name, filters, created } = report;
  const [forget, forgetting] = useAction(async () => {
    if (!(await confirmed(t("reports.delete_title", { name }), t("reports.delete_text"), t("action.delete")))) return;
    await remove(`/reports/${id}`);
    tell(t("reports.deleted"));
    go("reports");
  });
  return html`
    <div class="row spread">
      <h2>${name}</h2>
      <span class="buttons">
        ${children}
        <button class="danger" disabled=${forgetting.busy} onClick=${forget}>${t("action.delete")}</button>
      </span>
    </div>
    <p class="dim">
      ${periodInWords(filters)} · ${t("reports.made_at", { time: instant(created) })} <${FilterTags} filters=${filters} />
    </p>
    <${ErrorNote} error=${forgetting.error} />
  `;
}

function NotDone({ report }) {
  return html`<section class="card" data-part="report" data-state=${report.state}>
    <${Heading} report=${report} />
    <${Note} kind=${report.state === "failed" ? "error" : "info"}>
      <p role="status">${t(`reports.state.${report.state}`)}</p>
      ${report.message && html`<p lang="en">${report.message}</p>`}
    <//>
  </section>`;
}

function Done({ report }) {
  const { id } = report;
  const content = useLoad((signal) => get(`/reports/${id}.json`, {}, { signal }), [id]);
  const [download, downloading] = useAction(async (type) => {
    const name = `report-${id}.${type}`;
    if (type !== "html") return saveFrom(`/reports/${id}.${type}`, name);
    // Its links to clips are to lead here from wherever the file is opened.
    const text = await (await blob(`/reports/${id}.html`)).text();
    const linked = text.replaceAll('href="../clips/', `href="${location.origin}/api/v1/clips/`);
    return save(new Blob([linked], { type: "text/html" }), name);
  });
  return html`
    <section class="card" data-part="report" data-state=${report.state}>
      <${Heading} report=${report}>
        ${["html", "csv", "json"].map(
          (type) => html`<button
            data-download=${type}
            aria-label=${t("reports.download", { type: type.toUpperCase() })}
            disabled=${downloading.busy}
            onClick=${() => download(type)}
          >
            ${type.toUpperCase()}
          </button>`,
        )}
      <//>
      <${ErrorNote} error=${downloading.error} />
      <${Loaded} from=${content}>${(found) => html`<${InShort} content=${found} />`}<//>
    </section>
    ${content.value && html`<${Details} content=${content.value} />`}
  `;
}

/** What changed: sentences and figures. */
function InShort({ content }) {
  const { summary, message, clips, negativity, before, clusters, outliers, emotions, events, previous } = content;
  const known = Object.values(emotions).reduce((sum, count) => sum + count, 0);
  const shares = Object.fromEntries(Object.entries(emotions).map(([label, count]) => [label, count / known]));
  const figure = (value, words, was) => html`<div>
    <b>${value}</b> ${words}
    ${was !== undefined && html`<div class="dim">${t("reports.before", { value: was })}</div>`}
  </div>`;
  return html`
    <ul class="summary" lang="en">
      ${summary.map((sentence) => html`<li>${sentence}</li>`)}
    </ul>
    ${message && !summary.includes(message) && html`<${Note} kind="warning"><p lang="en">${message}</p><//>`}
    <div class="figures">
      ${figure(number(clips), t("reports.clips"), before ? number(before.clips) : undefined)}
      ${negativity !== null &&
      figure(percent(negativity), t("reports.negative"), before ? percent(before.negativity) : undefined)}
      ${figure(number(clusters.length), t("reports.groups"))}
      ${outliers !== null && figure(number(outliers), t("reports.outliers"))}
    </div>
    ${known > 0 && html`<${EmotionMix} emotions=${shares} />`}
    ${events && html`<${Events} events=${events} clusters=${clusters} />`}
    <p class="row">
      ${content.cluster_run !== null &&
      html`<a href=${address("clusters", content.cluster_run)}>${t("reports.map")}</a>`}
      ${previous !== null && html`<a href=${address("reports", previous)}>${t("reports.previous")}</a>`}
    </p>
  `;
}

function Events({ events, clusters }) {
  const names = new Map(clusters.map((one) => [one.lasting_id, t("reports.quoted", { name: one.name })]));
  const named = (ids) =>
    ids.map((id) => names.get(id) ?? t("reports.group_number", { id: String(id) })).join(t("reports.and"));
  return html`
    <h3>${t("reports.events")}</h3>
    ${events.length
      ? html`<ul>
          ${events.map(({ kind, before, after, ratio }) => {
            const values = { before: named(before), after: named(after), ratio: fixed(ratio ?? 0, 1) };
            return html`<li>${t(`reports.event.${kind}`, values)}</li>`;
          })}
        </ul>`
      : html`<p>${t("reports.no_events")}</p>`}
  `;
}

function Details({ content }) {
  const { clusters, history, model, negative_emotions: negative } = content;
  const weeks = Math.max(0, ...clusters.map((one) => one.weeks.length));
  return html`
    ${clusters.length > 0 && html`<${Ranked} content=${content} />`}
    ${weeks > 2 && html`<${Weeks} clusters=${clusters} />`}
    <${History} history=${[...history, content]} />
    <p class="dim">
      ${t("reports.opinion")} ${model && t("reports.model", { id: model.id })}
      ${" "}${t("reports.negative_means", { emotions: negative.map(emotionName).join(t("reports.comma")) })}
    </p>
  `;
}

const GroupMark = ({ rank }) => html`<${Swatch} ...${mark(Math.min(rank, MARKED))} />`;

function Ranked({ content: { clusters, before } }) {
  return html`<section class="card" data-part="ranked" aria-labelledby="report-ranked">
    <h2 id="report-ranked">${t("reports.ranked")}</h2>
    <p class="dim">${t(before ? "reports.ranked_before" : "reports.ranked_alone")}</p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="report-ranked">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("reports.group")}</th>
            <th scope="col" class="n">${t("reports.clips_column")}</th>
            ${before && html`<th scope="col" class="n">${t("reports.before_column")}</th>`}
            <th scope="col" class="n">${t("reports.share")}</th>
            <th scope="col" class="n">${t("reports.negative_column")}</th>
            <th scope="col" class="n">${t("reports.trend")}</th>
            <th scope="col" class="n">${t("reports.priority")}</th>
            <th scope="col">${t("reports.mix")}</th>
            <th scope="col">${t("reports.customers")}</th>
            <th scope="col">${t("reports.listen")}</th>
          </tr>
        </thead>
        <tbody>
          ${clusters.map(
            (one, rank) => html`<tr key=${one.lasting_id} data-group=${one.lasting_id}>
              <th scope="row">
                <${GroupMark} rank=${rank} />${one.name} <span class="dim">#${one.lasting_id}</span>
              </th>
              <td class="n">${number(one.size)}</td>
              ${before && html`<td class="n">${number(one.size_before ?? 0)}</td>`}
              <td class="n">${percent(one.share)}</td>
              <td class="n">${percent(one.negativity)}</td>
              <td class="n">×${fixed(one.trend, 2)}</td>
              <td class="n">${fixed(one.priority * 100, 1)}</td>
              <td class="roomy"><${EmotionMix} emotions=${one.emotions} /></td>
              <td>
                ${one.customers.slice(0, CUSTOMERS).map(
                  ({ id, clips }) => html`<div><a href=${address("customers", id)}>${id}</a> (${number(clips)})</div>`,
                )}
              </td>
              <td class="roomy">
                <div class="row">
                  ${one.exemplars.map(
                    (clip) => html`<span class="listen">
                      <${PlayButton} clip=${{ clip_id: clip }} />
                      <a href=${address("clip", clip)} aria-label=${t("clip.name", { id: String(clip) })}>${String(clip)}</a>
                    </span>`,
                  )}
                </div>
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function Weeks({ clusters }) {
  const shown = clusters.slice(0, MARKED);
  const data = useMemo(() => weekly(shown), [clusters]);
  const [mondays, ...counts] = data;
  const series = shown.map(({ name }, rank) => ({ label: name, ...mark(rank) }));
  const label = t("reports.weeks_of", { count: mondays.length });
  const dayOf = (seconds) => day(seconds * 1000);
  return html`<section class="card" data-part="weeks" aria-labelledby="report-weeks">
    <h2 id="report-weeks">${t("reports.weeks")}</h2>
    <p class="dim">${t("reports.weeks_mean")}</p>
    <${Chart}
      data=${data}
      series=${series}
      label=${{ x: t("reports.week"), all: label }}
      value=${(count) => number(count, 1)}
      xValue=${dayOf}
      range=${[0, Math.max(1, ...counts.flat()) * 1.05]}
    />
    <details>
      <summary>${label}</summary>
      <div class="scroll" tabindex="0" role="region" aria-label=${label}>
        <table>
          <thead>
            <tr>
              <th scope="col">${t("reports.week")}</th>
              ${shown.map(
                ({ name }, rank) => html`<th scope="col" class="n"><${GroupMark} rank=${rank} />${name}</th>`,
              )}
            </tr>
          </thead>
          <tbody>
            ${mondays.map(
              (monday, place) => html`<tr>
                <th scope="row">${dayOf(monday)}</th>
                ${counts.map((ofGroup) => html`<td class="n">${number(ofGroup[place])}</td>`)}
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  </section>`;
}

/** [Mondays, clips a week of each group …], whichever week a group begins in. */
function weekly(clusters) {
  const begins = clusters.map((one) => Date.parse(one.first_week));
  const first = Math.min(...begins);
  const skipped = begins.map((begin) => (begin - first) / WEEK);
  const length = Math.max(...clusters.map((one, place) => skipped[place] + one.weeks.length));
  const places = Array.from({ length }, (_, place) => place);
  return [
    places.map((place) => midnightOf(new Date(first + place * WEEK))),
    ...clusters.map((one, of) => places.map((place) => one.weeks[place - skipped[of]] ?? 0)),
  ];
}

/** Seconds at which a date of UTC begins here, so that the chart and its legend show that date. */
const midnightOf = (date) => new Date(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()) / 1000;

/** Negative share from report to report of a schedule. */
function History({ history }) {
  const data = useMemo(() => {
    const told = history.filter((one) => one.slot && one.negativity !== null);
    return [told.map((one) => Date.parse(one.slot) / 1000), told.map((one) => one.negativity)];
  }, [history.length, history.at(-1)]);
  if (data[0].length < 2) return null;
  return html`<section class="card" data-part="history" aria-labelledby="report-history">
    <h2 id="report-history">${t("reports.history")}</h2>
    <${Chart}
      data=${data}
      series=${[{ label: t("reports.negative_column"), ...mark(0), points: true }]}
      label=${{
        x: t("field.time"),
        all: data[0].map((at, place) => `${day(at * 1000)}: ${percent(data[1][place])}`).join("; "),
      }}
      value=${percent}
      xValue=${(seconds) => day(seconds * 1000)}
    />
  </section>`;
}
