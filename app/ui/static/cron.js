// Cron expressions for whoever does not know them: made of a choice, and told in words.

import { currentLanguage, t } from "./language.js";

export const WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
export const DAYS_OF_MONTH = Array.from({ length: 28 }, (_, place) => String(place + 1)); // those that every month has
const DAY = 86_400_000;
const A_MONDAY = Date.UTC(2024, 0, 1);

/** What can be chosen, each with the last three fields of its expression. */
export const RHYTHMS = {
  day: () => "* * *",
  workday: () => "* * MON-FRI",
  week: ({ weekday }) => `* * ${weekday}`,
  month: ({ day }) => `${day} * *`,
};

/** The expression of a choice: {rhythm, time: "07:00", weekday: "MON", day: "1"}. */
export function cronOf({ rhythm, time, ...chosen }) {
  const [hour, minute] = time.split(":").map(Number);
  return `${minute} ${hour} ${RHYTHMS[rhythm](chosen)}`;
}

export const weekdayName = (weekday) =>
  new Date(A_MONDAY + WEEKDAYS.indexOf(weekday) * DAY).toLocaleDateString(currentLanguage(), {
    weekday: "long",
    timeZone: "UTC",
  });

/** An expression in words where it is a simple one, else null. */
export function cronInWords(expression) {
  const fields = expression.trim().toUpperCase().split(/\s+/);
  const [minute, hour, day, month, weekday] = fields;
  if (fields.length !== 5 || !/^\d+ \d+$/.test(`${minute} ${hour}`) || month !== "*") return null;
  const time = `${hour.padStart(2, "0")}:${minute.padStart(2, "0")}`;
  if (day !== "*") return weekday === "*" && /^\d+$/.test(day) ? t("reports.cron.month", { day, time }) : null;
  if (weekday === "*") return t("reports.cron.day", { time });
  if (weekday === "MON-FRI" || weekday === "1-5") return t("reports.cron.workday", { time });
  // 0 and 7 are both Sunday.
  const named = /^[0-7]$/.test(weekday) ? WEEKDAYS[(Number(weekday) + 6) % 7] : weekday;
  return WEEKDAYS.includes(named) ? t("reports.cron.week", { weekday: weekdayName(named), time }) : null;
}
