// What a cluster run found: a few figures, the map, and each cluster with its facts and exemplars.

import { useState } from "preact/hooks";
import { get } from "../api.js";
import { mark } from "../emotions.js";
import { html } from "../html.js";
import { day, fixed, number, percent, t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { address } from "../route.js";
import { ClipMap } from "./clip_map.js";
import { ClipTable } from "./clip_table.js";
import { ErrorNote, Loaded, Note, goneOnly } from "./notes.js";
import { PlayButton } from "./player.js";
import { Emotion, EmotionMix, Swatch } from "./scores.js";

const MEMBERS = 20; // of a cluster, shown at a time
const FIRST = 60; // clusters that are shown before one asks for more

export function ClusterRun({ run }) {
  const [opened, setOpened] = useState(null);
  const [all, setAll] = useState(false);
  const { whole, clusters } = run;
  const shown = all ? clusters : clusters.slice(0, FIRST);
  return html`
    <section class="card">
      <h2>${t("clusters.title", { id: String(run.id) })}</h2>
      <div class="figures">
        <div><b>${number(clusters.length)}</b> ${t("clusters.found")}</div>
        <div><b>${number(whole.clips)}</b> ${t("clusters.clips_in_all")}</div>
        <div><b>${percent(whole.outlier_share)}</b> ${t("clusters.outliers")}</div>
        ${whole.silhouette !== null && html`<div><b>${fixed(whole.silhouette, 2)}</b> ${t("clusters.silhouette")}</div>`}
      </div>
      ${run.message && html`<${Note}><p lang="en">${run.message}</p><//>`}
      ${run.events !== null && html`<${Events} events=${run.events} clusters=${clusters} />`}
    </section>
    ${whole.on_map > 0 && html`<${ClipMap} runId=${run.id} clusters=${clusters} />`}
    <section aria-labelledby="clusters-title">
      <h2 id="clusters-title">${t("clusters.all")}</h2>
      ${clusters.length === 0 && html`<p class="card">${t("clusters.none")}</p>`}
      <div class="cards">
        ${shown.map(
          (one) => html`<${Card}
            key=${one.cluster}
            cluster=${one}
            opened=${opened === one.cluster}
            open=${() => setOpened(opened === one.cluster ? null : one.cluster)}
          />`,
        )}
      </div>
      ${shown.length < clusters.length &&
      html`<p><button onClick=${() => setAll(true)}>${t("clusters.show_all", { count: clusters.length })}</button></p>`}
    </section>
    ${opened !== null &&
    html`<${Opened} key=${opened} run=${run} cluster=${clusters.find((one) => one.cluster === opened)} />`}
  `;
}

function Events({ events, clusters }) {
  const names = Object.fromEntries(clusters.map((one) => [one.lasting_id, one.name]));
  const named = (ids) => ids.map((id) => (names[id] ? `${names[id]} (#${id})` : `#${id}`)).join(", ");
  return html`<div data-part="events">
    <h3>${t("clusters.events")}</h3>
    ${events.length === 0
      ? html`<p class="dim">${t("clusters.no_events")}</p>`
      : html`<ul>
          ${events.map(
            ({ kind, before, after, ratio }) => html`<li>
              ${t(`clusters.event_${kind}`, {
                before: named(before),
                after: named(after),
                ratio: ratio === null ? "" : `×${fixed(ratio, 2)}`,
              })}
            </li>`,
          )}
        </ul>`}
  </div>`;
}

function Card({ cluster, opened, open }) {
  const { trend } = cluster;
  return html`<article class="card" data-cluster=${cluster.cluster} aria-label=${cluster.name}>
    <h3><${Swatch} ...${mark(cluster.cluster)} />${cluster.name} <span class="dim">#${String(cluster.lasting_id)}</span></h3>
    <p>${t("clusters.size", { count: cluster.size, share: percent(cluster.share, 1) })}</p>
    <${EmotionMix} emotions=${cluster.emotions} />
    <p class="dim">
      ${t("clusters.cohesion", { value: fixed(cluster.cohesion, 2) })}
      ${Math.abs(trend.slope) >= 0.05 && ` · ${t("clusters.slope", { value: `${trend.slope > 0 ? "+" : ""}${fixed(trend.slope, 1)}` })}`}
    </p>
    <div class="row">
      ${cluster.representatives.map((id) => html`<${PlayButton} clip=${{ clip_id: id, emotion: cluster.dominant_emotion }} />`)}
      <button class="small" data-open=${cluster.cluster} aria-expanded=${String(opened)} onClick=${open}>
        ${t(opened ? "clusters.close" : "clusters.open")}
      </button>
    </div>
  </article>`;
}

function Opened({ run, cluster }) {
  const heading = (element) => element?.dataset.seen || (element && ((element.dataset.seen = "yes"), element.focus()));
  return html`<section class="card" data-part="cluster" aria-labelledby="cluster-title">
    <h2 id="cluster-title" tabindex="-1" ref=${heading}>${cluster.name}</h2>
    <div class="two">
      <dl class="facts">
        ${[
          ["clusters.clips", `${number(cluster.size)} (${percent(cluster.share, 1)})`],
          ["clusters.dominant", html`<${Emotion} label=${cluster.dominant_emotion} />`],
          ["clusters.confidence", percent(cluster.mean_confidence)],
          ["clusters.cohesion_name", fixed(cluster.cohesion, 3)],
          ["clusters.radius", fixed(cluster.radius, 3)],
          ["clusters.weeks", t("clusters.weeks_since", { count: cluster.trend.clips.length, day: day(`${cluster.trend.first_week}T00:00`) })],
        ].map(([name, value]) => html`<div><dt>${t(name)}</dt><dd>${value}</dd></div>`)}
      </dl>
      <div>
        <${Leaders} title=${t("nav.customers")} tab="customers" leaders=${cluster.customers} />
        <${Leaders} title=${t("clusters.agents")} tab="agents" leaders=${cluster.agents} />
      </div>
    </div>
    <h3>${t("clusters.exemplars")}</h3>
    <${Clips} ids=${cluster.representatives} label=${t("clusters.exemplars")} />
    <h3>${t("clusters.members")}</h3>
    <${Members} run=${run} cluster=${cluster} />
  </section>`;
}

function Leaders({ title, tab, leaders }) {
  if (!leaders.length) return null;
  return html`<h3>${title}</h3>
    <ul>
      ${leaders.map(
        (one) => html`<li>
          <a href=${address(tab, one.id)}>${one.id}</a>
          ${" "}${t("clusters.leads", { count: one.clips, share: percent(one.share), lift: fixed(one.lift, 1) })}
        </li>`,
      )}
    </ul>`;
}

const clipsOf = (ids, signal) =>
  Promise.all(ids.map((id) => get(`/clips/${id}`, {}, { signal }).catch(goneOnly))).then((found) => found.filter(Boolean));

function Clips({ ids, label }) {
  const clips = useLoad((signal) => clipsOf(ids, signal), [ids.join()]);
  return html`<${Loaded} from=${clips}>${(found) => html`<${ClipTable} clips=${found} label=${label} />`}<//>`;
}

function Members({ run, cluster }) {
  const path = `/clusters/${run.id}/members`;
  const [clips, setClips] = useState([]);
  const [cursor, setCursor] = useState(null); // undefined: there are no more
  const [more, loading] = useAction(async () => {
    const page = await get(path, { cluster: cluster.cluster, limit: MEMBERS, cursor });
    const found = await clipsOf(page.clip_ids);
    setClips((before) => [...before, ...found]);
    setCursor(page.next_cursor ?? undefined);
  });
  return html`
    ${clips.length > 0 && html`<${ClipTable} clips=${clips} label=${t("clusters.members")} />`}
    ${cursor !== undefined &&
    html`<p><button data-action="members" disabled=${loading.busy} onClick=${more}>${t(clips.length ? "action.more" : "clusters.show_members")}</button></p>`}
    <${ErrorNote} error=${loading.error} />
  `;
}
