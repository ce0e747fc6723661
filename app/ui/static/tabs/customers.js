// Customers and agents: who has changed, and what the clips of one say over time.

import { useState } from "preact/hooks";
import { get } from "../api.js";
import { ClipTable } from "../components/clip_table.js";
import { Loaded, Note } from "../components/notes.js";
import { PersonLines } from "../components/person_lines.js";
import { html } from "../html.js";
import { day, number, percent, t } from "../language.js";
import { useEvery, useLoad } from "../loading.js";
import { address, go } from "../route.js";

const FIELD = { customers: "customer_id", agents: "agent_id" };
const SORTS = ["drift", "negative", "clips"];
const SPANS = ["day", "week", "month"];
const HALF_LIVES = [7, 30, 90, 365]; // days
const PAGE = 50;
const LATEST = 20; // clips
const POINTS = 2000; // as many as the service gives at once
const RAREST = 1e-6; // false alarms are not counted below

export default function Customers({ route }) {
  return route.id
    ? html`<${Person} key=${route.id} kind=${route.tab} id=${route.id} params=${route.params} />`
    : html`<${People} kind=${route.tab} params=${route.params} />`;
}

const oneOf = (known, value) => (known.includes(value) ? value : null);

function People({ kind, params }) {
  const sort = oneOf(SORTS, params.get("sort")) ?? SORTS[0];
  const flagged = params.get("flagged") === "true";
  const told = JSON.stringify([sort, flagged]);
  const [cursors, setCursors] = useState({ of: told, before: [] }); // of the pages up to this one
  const before = cursors.of === told ? cursors.before : [];
  const cursor = before.at(-1) ?? null;
  const page = useLoad(
    (signal) => get(`/${kind}`, { sort, flagged, limit: PAGE, cursor }, { signal }),
    [told, cursor],
  );
  useEvery(5, page.value?.up_to_date === false, page.poll);
  const look = (changes) => {
    const next = { sort, flagged, ...changes };
    go(kind, null, { sort: next.sort === SORTS[0] ? null : next.sort, flagged: next.flagged || null });
  };
  const turn = (pages) => {
    setCursors({ of: told, before: pages });
    document.getElementById("people").scrollIntoView();
  };

  return html`
    <div class="row spread filters">
      <nav class="buttons" aria-label=${t("customers.switch")}>
        ${Object.keys(FIELD).map(
          (name) => html`<a
            class="button"
            data-kind=${name}
            href=${address(name)}
            aria-current=${name === kind ? "page" : undefined}
            >${t(`customers.${name}`)}</a
          >`,
        )}
      </nav>
      <label>
        ${t("customers.sort")}${" "}
        <select name="sort" value=${sort} onChange=${(event) => look({ sort: event.currentTarget.value })}>
          ${SORTS.map((name) => html`<option value=${name}>${t(`customers.sort_${name}`)}</option>`)}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          name="flagged"
          checked=${flagged}
          onChange=${(event) => look({ flagged: event.currentTarget.checked })}
        />
        ${t("customers.only_flagged")}
      </label>
    </div>
    <section id="people" class="card" aria-labelledby="people-title" data-part="people">
      <h2 id="people-title">${t(`customers.${kind}`)}</h2>
      <${Loaded} from=${page}>
        ${({ up_to_date: current, next_cursor: next, ...found }) => html`
          ${!current && html`<${Note}>${t("customers.behind")}<//>`}
          ${found[kind].length
            ? html`<${PeopleTable} kind=${kind} people=${found[kind]} />`
            : html`<p class="dim">${t(flagged ? "customers.none_flagged" : `customers.no_${kind}`)}</p>`}
          ${(before.length > 0 || next) &&
          html`<p class="row">
            <button disabled=${!before.length} onClick=${() => turn(before.slice(0, -1))}>${t("customers.previous")}</button>
            <button data-next disabled=${!next} onClick=${() => turn([...before, next])}>${t("customers.next")}</button>
          </p>`}
        `}
      <//>
    </section>
  `;
}

function PeopleTable({ kind, people }) {
  const label = t(`customers.${kind}`);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead>
        <tr>
          <th scope="col">${t(`field.${FIELD[kind]}`)}</th>
          <th scope="col">${t("customers.change")}</th>
          <th scope="col">${t("customers.before_since")}</th>
          <th scope="col">${t("customers.since_when")}</th>
          <th scope="col">${t("customers.strength")}</th>
          <th scope="col" class="n">${t("customers.clips")}</th>
          <th scope="col" class="n">${t("customers.negative")}</th>
          <th scope="col">${t("customers.last")}</th>
        </tr>
      </thead>
      <tbody>
        ${people.map(
          (one) => html`<tr key=${one.id} data-person=${one.id}>
            <th scope="row"><a href=${address(kind, one.id)}>${one.id}</a></th>
            ${one.drift
              ? html`
                  <td><${Change} drift=${one.drift} /></td>
                  <td>${percent(one.drift.before)} → ${percent(one.drift.since)}</td>
                  <td>${day(one.drift.changed_at)}</td>
                  <td>${strengthOf(one.drift)}</td>
                `
              : html`<td class="dim" colspan="4">${t("customers.too_few")}</td>`}
            <td class="n">${number(one.clips)}</td>
            <td class="n">${percent(one.negative_share)}</td>
            <td>${day(one.last)}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Which way, and whether that is more than chance does; in words. */
function Change({ drift }) {
  const arrow = html`<span aria-hidden="true">${drift.direction === "worse" ? "▲" : "▼"}</span>`;
  const word = t(`customers.${drift.direction}`);
  return drift.flagged
    ? html`<strong>${arrow} ${word}</strong> <span class="tag">${t("customers.flagged")}</span>`
    : html`<span class="dim">${arrow} ${word} · ${t("customers.by_chance")}</span>`;
}

/** How rare this is where nothing has changed. */
function strengthOf({ false_alarm_rate: rate }) {
  if (rate <= RAREST) return t("customers.rarer", { count: 1 / RAREST });
  const count = Number((1 / rate).toPrecision(2));
  return count < 1.5 ? t("customers.usual") : t("customers.rare", { count: Math.round(count) });
}

function Person({ kind, id, params }) {
  const span = oneOf(SPANS, params.get("span")) ?? "week";
  const halfLife = oneOf(HALF_LIVES, Number(params.get("half_life"))) ?? 30;
  const person = useLoad(
    (signal) =>
      get(`/${kind}/${encodeURIComponent(id)}/timeline`, { span, half_life: halfLife, limit: POINTS }, { signal }),
    [kind, id, span, halfLife],
  );
  const clips = useLoad((signal) => get("/clips", { [FIELD[kind]]: id, limit: LATEST }, { signal }), [kind, id]);
  const look = (changes) => go(kind, id, { span, half_life: halfLife, ...changes });

  return html`
    <p><a href=${address(kind)}>← ${t(`customers.${kind}`)}</a></p>
    <section class="card" data-part="person">
      <h2>${t(`field.${FIELD[kind]}`)}: ${id}</h2>
      <${Loaded} from=${person}>
        ${(found) => html`
          <${Facts} person=${found} />
          <p data-drift=${found.drift?.flagged ? "flagged" : ""}>${inASentence(found.drift)}</p>
          <div class="row">
            <label>
              ${t("customers.span")}${" "}
              <select name="span" value=${span} onChange=${(event) => look({ span: event.currentTarget.value })}>
                ${SPANS.map((name) => html`<option value=${name}>${t(`customers.${name}`)}</option>`)}
              </select>
            </label>
            <label title=${t("customers.half_life_means")}>
              ${t("customers.half_life")}${" "}
              <select name="half_life" value=${halfLife} onChange=${(event) => look({ half_life: event.currentTarget.value })}>
                ${HALF_LIVES.map((days) => html`<option value=${days}>${t("customers.days", { count: days })}</option>`)}
              </select>
            </label>
          </div>
          <${PersonLines} kind=${kind} timeline=${found} />
        `}
      <//>
    </section>
    <section class="card" data-part="latest">
      <div class="row spread">
        <h2>${t("customers.latest")}</h2>
        <a href=${address("library", null, { [FIELD[kind]]: id })}>${t("customers.in_library")}</a>
      </div>
      <${Loaded} from=${clips}>
        ${({ clips: latest }) =>
          latest.length
            ? html`<${ClipTable} clips=${latest} label=${t("customers.latest")} />`
            : html`<p class="dim">${t("library.none_match")}</p>`}
      <//>
    </section>
  `;
}

function Facts({ person }) {
  const facts = [
    ["clips", number(person.clips)],
    ["negative", percent(person.negative_share)],
    ["first", day(person.first)],
    ["last", day(person.last)],
  ];
  return html`<div class="figures">
    ${facts.map(([name, value]) => html`<div data-fact=${name}><b>${value}</b>${t(`customers.${name}`)}</div>`)}
  </div>`;
}

function inASentence(drift) {
  if (!drift) return t("customers.drift_unknown");
  const values = {
    before: percent(drift.before),
    since: percent(drift.since),
    at: day(drift.changed_at),
    clips_before: drift.clips_before,
    clips_since: drift.clips_since,
    strength: strengthOf(drift),
  };
  return t(`customers.drift_${drift.flagged ? drift.direction : "unclear"}`, values);
}
