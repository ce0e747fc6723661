// How the service is doing, what is at work in it, and looking after its index.

import { get, hasKey } from "../api.js";
import { IndexCare } from "../components/index_care.js";
import { Jobs } from "../components/jobs.js";
import { Loaded, Note } from "../components/notes.js";
import { html } from "../html.js";
import { bytes, currentLanguage, duration, has, number, percent, t } from "../language.js";
import { useEvery, useLoad } from "../loading.js";

const SECONDS = 5; // between two looks

export default function StatusTab() {
  const found = useLoad((signal) => get("/status", {}, { signal }), []);
  useEvery(SECONDS, found.error?.type !== "unauthorised", found.poll); // else it would ask for the key each time
  return html`
    <${Loaded} from=${found}>${(status) => html`<${Figures} status=${status} />`}<//>
    <${Jobs} reindex=${found.value?.reindex} reload=${found.reload} every=${SECONDS} />
    <${IndexCare} rebuilds=${found.reload} />
    <p class="dim">
      ${hasKey() || html`<a href="/docs">${t("status.interface")}</a> · `}${t("status.readme")}
    </p>
  `;
}

function Figures({ status }) {
  const { model, index, database, requests, batching, limits } = status;
  const whole = index.state === "ready" && index.pending === 0 && index.size === index.expected;
  return html`<div class="cards">
    <${Part} name="service" facts=${[
      ["state", stateInWords(status.status)],
      ["version", status.version],
      ["uptime", timeInWords(status.uptime_seconds)],
      ["upload", bytes(limits.upload_bytes)],
      ["length", duration(limits.seconds)],
    ]} />
    <${Part} name="database" facts=${[
      ["dialect", database.dialect],
      ["clips", number(database.clips)],
    ]} />
    <${Part} name="batching" facts=${[
      ["inside", number(batching.inside)],
      ["queued", number(batching.queued)],
      ["waiting", number(batching.waiting)],
      ["mean_batch", batching.batches ? number(batching.waveforms / batching.batches, 1) : "–"],
    ]} />
    <${Part} name="model" facts=${[
      ["model_id", model.id],
      ["bundled", t(model.bundled ? "status.is_bundled" : "status.is_not_bundled")],
      ["dimension", number(model.dimension)],
      ["runtime", `${model.runtime} (${model.dtype})`],
      ["device", model.device],
      ["digest", html`<code title=${model.digest}>${model.digest.slice(0, 12)}</code>`],
    ]} />
    <${Part} name="index" facts=${[
      ["state", stateInWords(index.state)],
      ["size", t("status.size_of", { size: index.size, expected: index.expected })],
      ["pending", number(index.pending)],
      ["kind", `${has(`status.kinds.${index.kind}`) ? t(`status.kinds.${index.kind}`) : index.kind} (${index.backend})`],
      ["memory", bytes(index.memory_bytes)],
    ]}>
      ${!whole && html`<${Note} kind="warning"><p>${t("status.not_whole")}</p><//>`}
    <//>
    <${Part} name="requests" facts=${[
      ["total", number(requests.total)],
      ["success_rate", percent(requests.success_rate, 2)],
      ["hung_up", number(requests.hung_up)],
      ["p50", milliseconds(requests.p50_ms)],
      ["p95", milliseconds(requests.p95_ms)],
    ]} />
  </div>`;
}

function Part({ name, facts, children }) {
  return html`<section class="card" data-part=${name} aria-labelledby=${`status-${name}`}>
    <h2 id=${`status-${name}`}>${t(`status.part.${name}`)}</h2>
    <dl class="facts">
      ${facts.map(([fact, value]) => html`<div data-fact=${fact}><dt>${t(`status.fact.${fact}`)}</dt><dd>${value}</dd></div>`)}
    </dl>
    ${children}
  </section>`;
}

const stateInWords = (state) => (has(`status.state.${state}`) ? t(`status.state.${state}`) : state);

const milliseconds = (value) => (value === null ? "–" : t("status.milliseconds", { value }));

/** Seconds as the two largest units that say something: 2 days 3 hours. */
function timeInWords(seconds) {
  let left = Math.floor(seconds);
  const parts = [];
  for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(count.toLocaleString(currentLanguage(), { style: "unit", unit, unitDisplay: "long" }));
  }
  return parts.slice(0, 2).join(" ") || "–";
}
