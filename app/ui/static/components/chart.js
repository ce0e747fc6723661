// Lines over time, by uPlot, with a legend that has each line's dash, shows and hides it, and tells
// the time and every value of the place that is pointed at.

import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { currentLanguage, t } from "../language.js";
import { colourNow, onTheme } from "../theme.js";

const HEIGHT = 200;
export const AXIS = 52; // pixels at the left, for values

const onceEach = (words) => words.map((word, place) => (word === words[place - 1] ? null : word));

/**
 * A chart.
 *
 * data: [xs, ys, …] as uPlot takes them; series: one for each ys, {label, colour, dash, width,
 * points, show}; value(y) and xValue(x) word what is shown of the point that is pointed at; seconds: xs
 * are seconds from the beginning, not instants; range: of y. onPoint(x) is a click.
 */
export function Chart({
  data,
  series,
  label,
  value,
  xValue,
  seconds = false,
  range = [0, 1],
  height = HEIGHT,
  now = null,
  onPoint,
}) {
  const box = useRef();
  const plot = useRef();
  const click = useRef(onPoint);
  click.current = onPoint;
  const [pointed, setPointed] = useState(null); // place in the data
  const [shown, setShown] = useState(() => series.map(({ show = true }) => show));
  const [broken, setBroken] = useState(false);
  const shape = JSON.stringify([series, label, seconds, range, height, currentLanguage()]);

  useEffect(() => {
    let gone = false;
    const size = new ResizeObserver(() => {
      // Once it is taken off the page its box is gone before this is.
      if (box.current) plot.current?.setSize({ width: box.current.clientWidth, height });
    });
    const ofTheme = onTheme(() => plot.current?.redraw());
    import("uplot").then(
      ({ default: UPlot }) => {
        if (gone || !box.current) return; // off the page, whose boxes go before this is told
        const axis = {
          stroke: () => colourNow("--text"),
          grid: { stroke: () => colourNow("--line"), width: 1 },
          ticks: { stroke: () => colourNow("--line"), width: 1 },
        };
        plot.current = new UPlot(
          {
            width: box.current.clientWidth,
            height,
            scales: { x: { time: !seconds }, y: { range } },
            padding: [10, seconds ? 0 : 44, 0, 0], // as wide as a waveform above it; else the last day has room
            legend: { show: false },
            cursor: { drag: { x: false, y: false }, points: { size: 7 } },
            axes: [
              // As the page's language writes it; days are longer than seconds, and several ticks may be of one.
              { ...axis, space: seconds ? 50 : 120, values: (_, ticks) => onceEach(ticks.map((tick) => xValue(tick))) },
              { ...axis, size: AXIS, values: (_, ticks) => ticks.map((tick) => value(tick)) },
            ],
            series: [
              {},
              ...series.map(({ colour, dash = [], width = 2, points = false }, place) => ({
                show: shown[place],
                stroke: colour,
                dash,
                width,
                points: { show: points, size: 5 },
                spanGaps: true,
              })),
            ],
            hooks: { setCursor: [({ cursor }) => setPointed(cursor.idx ?? null)] },
          },
          data,
          box.current,
        );
        plot.current.over.addEventListener("click", () => {
          const { left } = plot.current.cursor;
          if (left >= 0) click.current?.(plot.current.posToVal(left, "x"));
        });
        size.observe(box.current);
      },
      () => setBroken(true),
    );
    return () => {
      gone = true;
      size.disconnect();
      ofTheme();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(data), [data]);

  // Where a recording is, while it plays.
  const needle = useRef();
  useEffect(() => {
    const chart = plot.current;
    if (!needle.current) return;
    const drawn = chart && now !== null;
    needle.current.hidden = !drawn;
    if (drawn) {
      const left = chart.valToPos(now, "x") + chart.over.offsetLeft;
      needle.current.style.transform = `translateX(${left}px)`;
    }
  }, [now]);

  const toggle = (place) => {
    plot.current?.setSeries(place + 1, { show: !shown[place] });
    setShown(shown.map((on, other) => (other === place ? !on : on)));
  };
  const at = (ys) => (pointed === null || ys[pointed] == null ? "–" : value(ys[pointed]));

  if (broken) return html`<p class="dim">${t("chart.broken")}</p>`;
  return html`<div class="chart">
    <div role="img" aria-label=${label.all}>
      <div class="plot" ref=${box}><i class="needle" hidden ref=${needle}></i></div>
    </div>
    <ul class="legend" aria-label=${t("chart.legend")}>
      <li class="pointed">${label.x}: ${pointed === null ? "–" : xValue(data[0][pointed])}</li>
      ${series.map(
        ({ label: name, colour, dash, points, width = 2 }, place) => html`<li key=${place} data-series=${place}>
          <button aria-pressed=${String(shown[place])} onClick=${() => toggle(place)}>
            <svg class="line" viewBox="0 0 34 10" aria-hidden="true">
              ${width > 0 && html`<path d="M0 5H34" stroke=${colour} stroke-width="3" stroke-dasharray=${(dash ?? []).join(" ")} />`}
              ${points && html`<circle cx="17" cy="5" r="4" fill=${colour} />`}
            </svg>
            ${name}
          </button>
          <span class="value">${at(data[place + 1])}</span>
        </li>`,
      )}
    </ul>
  </div>`;
}
