// Filters in words.

import { html } from "../html.js";
import { emotionName, instant, number, t } from "../language.js";

export function periodInWords({ since, until }) {
  const ends = { since: instant(since), until: instant(until) };
  if (since && until) return t("reports.period_both", ends);
  if (since) return t("reports.period_since", ends);
  return until ? t("reports.period_until", ends) : t("reports.period_all");
}

/** Filters without the period, a tag for each value. */
export function FilterTags({ filters }) {
  const told = Object.entries(filters)
    .filter(([name]) => name !== "since" && name !== "until")
    .flatMap(([name, value]) => [value].flat().map((one) => filterInWords(name, one)));
  return told.map((words) => html`<span class="tag">${words}</span> `);
}

/** All filters as one text, as for a question. */
export function filtersInWords({ since, until, ...others }) {
  const told = Object.entries(others).flatMap(([name, value]) => [value].flat().map((one) => filterInWords(name, one)));
  return [...told, ...(since || until ? [periodInWords({ since, until })] : [])].join("; ");
}

function filterInWords(name, value) {
  if (name.startsWith("meta.")) return `${name.slice(5)} = ${value}`;
  if (name === "emotion") return emotionName(value);
  if (name === "file_sha256") return `SHA-256 ${value.slice(0, 12)}…`;
  const field = t(`field.${name === "tag" ? "tags" : name}`);
  return `${field}: ${typeof value === "number" ? number(value, 3) : value}`;
}
