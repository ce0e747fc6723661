// The page's languages: chosen by the browser, switched by the visitor, kept in this browser.

import en from "./languages/en.js";
import zh from "./languages/zh.js";
import { recall, remember } from "./memory.js";

const CATALOGUES = { en, zh };
export const LANGUAGES = { en: "English", zh: "中文" };
const LOCALES = { en: "en-GB", zh: "zh-CN" };

let language = known(recall("language")) ?? navigator.languages.map(known).find(Boolean) ?? "en";

function known(tag) {
  const base = String(tag ?? "").slice(0, 2).toLowerCase();
  return Object.hasOwn(CATALOGUES, base) ? base : null;
}

export const currentLanguage = () => language;

export function chooseLanguage(tag) {
  language = known(tag) ?? "en";
  remember("language", language);
  document.documentElement.lang = LOCALES[language];
}

function lookUp(catalogue, key) {
  return key.split(".").reduce((part, name) => part?.[name], catalogue);
}

/** Whether there are words for a key, as of an error's type. */
export const has = (key) => lookUp(en, key) !== undefined;

/**
 * The words for a key. `{name}` in them is replaced by values.name; where they are
 * `{one, other}`, values.count chooses.
 */
export function t(key, values = {}) {
  let words = lookUp(CATALOGUES[language], key) ?? lookUp(en, key) ?? key;
  if (typeof words === "object") {
    const form = new Intl.PluralRules(LOCALES[language]).select(values.count);
    words = words[form] ?? words.other;
  }
  return words.replace(/\{(\w+)\}/g, (_, name) =>
    typeof values[name] === "number" ? number(values[name]) : String(values[name] ?? ""),
  );
}

export const number = (value, digits = 0) =>
  value.toLocaleString(LOCALES[language], { maximumFractionDigits: digits });

/** With just so many digits after the point, as in a column. */
export const fixed = (value, digits) =>
  value.toLocaleString(LOCALES[language], {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });

export const percent = (share, digits = 0) =>
  share == null
    ? "–"
    : share.toLocaleString(LOCALES[language], { style: "percent", maximumFractionDigits: digits });

/** An instant of the API as date and time here. */
export const instant = (text) =>
  text
    ? new Date(text).toLocaleString(LOCALES[language], { dateStyle: "medium", timeStyle: "short" })
    : "–";

export const day = (text) =>
  text ? new Date(text).toLocaleDateString(LOCALES[language], { dateStyle: "medium" }) : "–";

/** Seconds as 3.2 s, 1:05 or 1:01:05. */
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 60) return t("unit.seconds", { value: fixed(seconds, 1) });
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

export function bytes(count) {
  for (const [unit, size] of [["GB", 2 ** 30], ["MB", 2 ** 20], ["kB", 2 ** 10]]) {
    if (count >= size) return `${number(count / size, 1)} ${unit}`;
  }
  return `${number(count)} B`;
}

export const emotionName = (label) => (label ? t(`emotion.${label}`) : t("emotion.none"));
