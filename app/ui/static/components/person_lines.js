// A customer's or an agent's clips over time, as lines and as the same points in a table.

import { useMemo, useState } from "preact/hooks";
import { LABELS, markOf } from "../emotions.js";
import { html } from "../html.js";
import { day, emotionName, number, percent, t } from "../language.js";
import { Chart } from "./chart.js";

const RANGE = [-0.03, 1.03]; // of shares, with room for the points of none and of all
const FAINT = 0.1; // labels that never reach it are drawn only if asked for

// A point's day as it is called here: as an instant in UTC it may be the day before.
const dayOf = (start) => `${start}T00:00`;
const atDay = (start) => new Date(dayOf(start)) / 1000;
const dayAt = (seconds) => day(seconds * 1000);

export function PersonLines({ kind, timeline }) {
  const { points, baseline } = timeline;
  const [negative, emotions] = useMemo(() => {
    const xs = points.map((point) => atDay(point.start));
    return [
      [
        xs,
        points.map((point) => point.smooth_negative_share),
        points.map((point) => point.negative_share),
        points.map(() => baseline.mean),
      ],
      [xs, ...LABELS.map((label) => points.map((point) => point.smooth_scores?.[label] ?? null))],
    ];
  }, [timeline]);
  if (points.length < 2) {
    return html`<p class="dim">${t("customers.no_line")}</p><${PersonPoints} points=${points} />`;
  }
  return html`
    <h3>${t("customers.negative")}</h3>
    <${Chart}
      data=${negative}
      series=${[
        { label: t("customers.smoothed"), colour: markOf("angry").colour },
        { label: t(`customers.each_${timeline.span}`), colour: markOf("happy").colour, width: 0, points: true },
        { label: t("customers.baseline"), colour: markOf("surprised").colour, dash: [8, 6] },
      ]}
      label=${{ x: t("field.time"), all: t("customers.negative_chart") }}
      value=${percent}
      xValue=${dayAt}
      range=${RANGE}
    />
    <p class="dim">${t(`customers.baseline_of_${kind}`)}</p>
    <h3>${t("customers.emotions")}</h3>
    <${Chart}
      data=${emotions}
      series=${LABELS.map((label, place) => ({
        label: emotionName(label),
        colour: markOf(label).colour,
        dash: markOf(label).dash,
        show: Math.max(...emotions[place + 1]) >= FAINT,
      }))}
      label=${{ x: t("field.time"), all: t("customers.emotions_chart") }}
      value=${percent}
      xValue=${dayAt}
      range=${RANGE}
    />
    <${PersonPoints} points=${points} />
    ${timeline.next_cursor && html`<p class="dim">${t("customers.points_most", { count: points.length })}</p>`}
  `;
}

/** The same in words, for whoever does not see the charts. */
function PersonPoints({ points }) {
  const [open, setOpen] = useState(false);
  const label = t("customers.points", { count: points.length });
  return html`<details data-part="points" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${label}</summary>
    ${open &&
    html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t("customers.from_day")}</th>
            <th scope="col" class="n">${t("customers.clips")}</th>
            <th scope="col" class="n">${t("customers.negative")}</th>
            <th scope="col" class="n">${t("customers.smoothed")}</th>
            ${LABELS.map((one) => html`<th scope="col" class="n">${emotionName(one)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${points.toReversed().map(
            (point) => html`<tr key=${point.start}>
              <th scope="row">${day(dayOf(point.start))}</th>
              <td class="n">${number(point.clips)}</td>
              <td class="n">${percent(point.negative_share)}</td>
              <td class="n">${percent(point.smooth_negative_share)}</td>
              ${LABELS.map((one) => html`<td class="n">${percent(point.smooth_scores?.[one])}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>`}
  </details>`;
}
