// The filters of the API as a form, and as parameters in the page's address.

import { useEffect, useId, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { LABELS, markOf } from "../emotions.js";
import { html } from "../html.js";
import { emotionName, number, t } from "../language.js";
import { Swatch } from "./scores.js";

const ONE = ["min_confidence", "customer_id", "call_id", "agent_id", "since", "until", "file_sha256"];
const MANY = ["emotion", "tag"];

/** Filters of an address, as the API takes them: {emotion: [], tag: [], customer_id: …}. */
export function filtersOf(params) {
  const filters = {};
  for (const name of MANY) {
    const given = params.getAll(name);
    if (given.length) filters[name] = given;
  }
  for (const [name, value] of params) {
    if (value && (ONE.includes(name) || name.startsWith("meta."))) filters[name] = value;
  }
  return filters;
}

/** The same for a JSON body, where numbers are numbers. */
export const inBody = (filters) =>
  filters.min_confidence === undefined
    ? filters
    : { ...filters, min_confidence: Number(filters.min_confidence) };

// datetime-local knows no offset: what is typed is the time here.
export const toLocal = (text) => {
  if (!text) return "";
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};
export const fromLocal = (text) => {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
};
export const LAST = "9999-12-31T23:59"; // that such a field takes: five digits of a year are no date

/**
 * A form of filters.
 * `counts` shows how many clips each emotion has under the others; `onChange` gets all filters.
 * `within` another form it has no buttons, and every change is told at once.
 */
export function FilterForm({ filters, onChange, counts = true, period = true, within = false }) {
  const id = useId(); // several may be on the page
  const [draft, setDraft] = useState(filters);
  const [values, setValues] = useState({});
  const told = JSON.stringify(filters);
  useEffect(() => setDraft(JSON.parse(told)), [told]);

  // Suggestions, and numbers beside the emotions; without them the form works as well.
  useEffect(() => {
    const stop = new AbortController();
    const others = { ...JSON.parse(told), emotion: [] };
    const by = counts ? "emotion,customer_id,agent_id,tag" : "customer_id,agent_id,tag";
    get("/clips/facets", { by, ...(counts ? others : {}) }, { signal: stop.signal })
      .then(({ facets }) => setValues(facets))
      .catch(() => {});
    return () => stop.abort();
  }, [counts && told, counts]);

  const put = (changed) => {
    setDraft(changed);
    if (within) tellOf(changed);
  };
  const set = (changes) => put({ ...draft, ...changes });
  const tellOf = (changed) =>
    onChange(Object.fromEntries(Object.entries(changed).filter(([, value]) => value?.length > 0)));
  const apply = (changes = {}) => tellOf({ ...draft, ...changes });
  const chosen = draft.emotion ?? [];
  const counted = Object.fromEntries((values.emotion ?? []).map((one) => [one.value, one.count]));
  const metadata = Object.entries(draft).filter(([name]) => name.startsWith("meta."));

  const text = (name, facet) => html`<label>
    ${t(`field.${name}`)}
    <input
      name=${name}
      maxlength="200"
      list=${facet && `${id}-${facet}`}
      value=${draft[name] ?? ""}
      onInput=${(event) => set({ [name]: event.currentTarget.value })}
    />
    ${facet &&
    html`<datalist id=${`${id}-${facet}`}>
      ${(values[facet] ?? []).slice(0, 200).map(({ value }) => value && html`<option value=${value} />`)}
    </datalist>`}
  </label>`;

  return html`<${within ? "fieldset" : "form"}
    class=${within ? "" : "filters"}
    aria-label=${t("filters.label")}
    onSubmit=${(event) => {
      event.preventDefault();
      apply();
    }}
  >
    <fieldset class="chips">
      <legend>${t("field.emotion")}</legend>
      ${LABELS.map(
        (label) => html`<label class="chip">
          <input
            type="checkbox"
            name="emotion"
            value=${label}
            checked=${chosen.includes(label)}
            onChange=${(event) => {
              const rest = chosen.filter((one) => one !== label);
              const emotion = event.currentTarget.checked ? [...rest, label] : rest;
              set({ emotion });
              if (!within) apply({ emotion });
            }}
          />
          <${Swatch} ...${markOf(label)} />${emotionName(label)}
          ${counts && counted[label] !== undefined && html`<span class="dim">${number(counted[label])}</span>`}
        </label>`,
      )}
    </fieldset>
    <details open=${within ? undefined : ["min_confidence", "call_id", "since", "until", "tag"].some((name) => filters[name]) ||
    metadata.length > 0 || Boolean(filters.customer_id) || Boolean(filters.agent_id)}>
      <summary>${t("filters.more")}</summary>
      <div class="fields">
        ${text("customer_id", "customer_id")} ${text("agent_id", "agent_id")} ${text("call_id")}
        <label>
          ${t("field.tags")}
          <${ListInput}
            name="tag"
            list=${`${id}-tag`}
            placeholder=${t("filters.tags_hint")}
            values=${draft.tag ?? []}
            onValues=${(tag) => set({ tag })}
          />
          <datalist id=${`${id}-tag`}>
            ${(values.tag ?? []).slice(0, 200).map(({ value }) => value && html`<option value=${value} />`)}
          </datalist>
        </label>
        ${period &&
        ["since", "until"].map(
          (name) => html`<label>
            ${t(`field.${name}`)}
            <input
              type="datetime-local"
              name=${name}
              max=${LAST}
              value=${toLocal(draft[name])}
              onChange=${(event) => set({ [name]: fromLocal(event.currentTarget.value) })}
            />
          </label>`,
        )}
        <label>
          ${t("field.min_confidence")}
          <input
            type="number"
            name="min_confidence"
            min="0"
            max="1"
            step="any"
            value=${draft.min_confidence ?? ""}
            onInput=${(event) => set({ min_confidence: event.currentTarget.value })}
          />
        </label>
        <label>
          ${t("field.metadata")}
          <${ListInput}
            name="meta"
            placeholder="KEY=VALUE"
            values=${metadata.map(([name, value]) => `${name.slice(5)}=${value}`)}
            onValues=${(pairs) =>
              put({
                ...Object.fromEntries(Object.entries(draft).filter(([name]) => !name.startsWith("meta."))),
                ...metadataOf(pairs),
              })}
          />
        </label>
      </div>
    </details>
    ${!within &&
    html`<p class="buttons">
      <button class="main">${t("filters.apply")}</button>
      <button type="button" onClick=${() => onChange({})}>${t("filters.clear")}</button>
    </p>`}
  <//>`;
}

/** An input of several values. What is typed stays as it is typed, also while the form is rendered. */
function ListInput({ values, onValues, ...input }) {
  const written = values.join(", ");
  const [typed, setTyped] = useState(written);
  const before = useRef(written);
  const typing = useRef(false);
  useEffect(() => {
    // Changed from elsewhere: by a link, or by what clears the form.
    if (written !== before.current && !typing.current) setTyped(written);
    before.current = written;
    typing.current = false;
  });
  return html`<input
    ...${input}
    value=${typed}
    onInput=${(event) => {
      typing.current = true;
      setTyped(event.currentTarget.value);
      onValues(words(event.currentTarget.value));
    }}
  />`;
}

/** Words that are separated by commas. */
export const words = (text) => text.split(/[,，]/).map((one) => one.trim()).filter(Boolean);

const metadataOf = (pairs) =>
  Object.fromEntries(
    pairs
      .map((pair) => pair.split("="))
      .filter(([name, ...value]) => name.trim() && value.length)
      .map(([name, ...value]) => [`meta.${name.trim()}`, value.join("=").trim()]),
  );
