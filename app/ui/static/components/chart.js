// Lines over time, by uPlot: pointing at one shows the time and every value, and a click on a name in
// the legend shows or hides its line.

import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { currentLanguage } from "../language.js";

const HEIGHT = 240;
export const AXIS = 52; // pixels at the left, for values

const coloursNow = () => {
  const style = getComputedStyle(document.documentElement);
  return { text: style.getPropertyValue("--text"), line: style.getPropertyValue("--line") };
};

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
  const shape = JSON.stringify([series, label, seconds, range, height, currentLanguage()]);

  useEffect(() => {
    let gone = false;
    const watch = new ResizeObserver(() => {
      // Once it is taken off the page its box is gone before this is.
      if (box.current) plot.current?.setSize({ width: box.current.clientWidth, height });
    });
    const theme = new MutationObserver(() => plot.current?.redraw());
    import("uplot").then(({ default: UPlot }) => {
      if (gone) return;
      const axis = {
        stroke: () => coloursNow().text,
        grid: { stroke: () => coloursNow().line, width: 1 },
        ticks: { stroke: () => coloursNow().line, width: 1 },
      };
      plot.current = new UPlot(
        {
          width: box.current.clientWidth,
          height,
          scales: { x: { time: !seconds }, y: { range } },
          padding: [10, seconds ? 0 : 44, 0, 0], // as wide as a waveform above it; else the last day has room
          legend: { live: true },
          cursor: { drag: { x: false, y: false }, points: { size: 7 } },
          axes: [
            // As the page's language writes it; days are longer than seconds, and several ticks may be of one.
            { ...axis, space: seconds ? 50 : 120, values: (_, ticks) => onceEach(ticks.map((tick) => xValue(tick))) },
            { ...axis, size: AXIS, values: (_, ticks) => ticks.map((tick) => value(tick)) },
          ],
          series: [
            { label: label.x, value: (_, x) => (x == null ? "–" : xValue(x)) },
            ...series.map(({ label: name, colour, dash = [], width = 2, points = false, show = true }) => ({
              show,
              label: name,
              stroke: colour,
              dash,
              width,
              points: { show: points, size: 5 },
              spanGaps: true,
              value: (_, y) => (y == null ? "–" : value(y)),
            })),
          ],
        },
        data,
        box.current,
      );
      plot.current.over.addEventListener("click", () => {
        const { left } = plot.current.cursor;
        if (left >= 0) click.current?.(plot.current.posToVal(left, "x"));
      });
      watch.observe(box.current);
      theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    });
    return () => {
      gone = true;
      watch.disconnect();
      theme.disconnect();
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
    const shown = chart && now !== null;
    needle.current.hidden = !shown;
    if (shown) {
      const left = chart.valToPos(now, "x") + chart.over.offsetLeft;
      needle.current.style.transform = `translateX(${left}px)`;
    }
  }, [now]);

  return html`<div class="chart" role="img" aria-label=${label.all}>
    <div class="plot" ref=${box}><i class="needle" hidden ref=${needle}></i></div>
  </div>`;
}
