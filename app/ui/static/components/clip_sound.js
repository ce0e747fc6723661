// A stored clip to hear and see: its waveform, its segments, and the emotion over time.

import { useCallback, useMemo, useRef, useState } from "preact/hooks";
import { blob, get } from "../api.js";
import { LABELS, markOf } from "../emotions.js";
import { html } from "../html.js";
import { duration, emotionName, percent, t } from "../language.js";
import { useLoad } from "../loading.js";
import { AXIS, Chart } from "./chart.js";
import { ErrorNote } from "./notes.js";
import { Emotion } from "./scores.js";
import { Waveform } from "./waveform.js";

const POINTS = 600; // in time; more than a screen shows
const FAINT = 0.1; // labels that never reach it are drawn only if asked for

export function ClipSound({ clip }) {
  const id = clip.clip_id;
  const sound = useLoad((signal) => blob(`/clips/${id}/audio`, {}, { signal }), [id]);
  const frames = useLoad((signal) => get(`/clips/${id}/frames`, { points: POINTS }, { signal }), [id]);
  const [at, setAt] = useState(null);
  const control = useRef(null);
  const seek = useCallback((seconds) => control.current?.seek(seconds), []);
  const heard = frames.value;

  const tellOf = (seconds) => {
    if (!heard) return "";
    const place = Math.min(heard.emotions.length - 1, Math.floor(seconds / heard.hop));
    const label = heard.emotions[place];
    return `${emotionName(label)} ${percent(heard.scores[label][place])}`;
  };

  return html`<section class="sound" aria-label=${t("sound.label")}>
    ${sound.error && html`<${ErrorNote} error=${sound.error} retry=${sound.reload} again />`}
    ${sound.value && html`<${Waveform} sound=${sound.value} tellOf=${tellOf} onTime=${setAt} control=${control} />`}
    ${frames.error && html`<${ErrorNote} error=${frames.error} retry=${frames.reload} again />`}
    ${frames.loading && html`<p class="dim" aria-busy="true">${t("sound.hearing")}</p>`}
    ${heard && heard.segments.length > 1 && html`<${SegmentStrip} segments=${heard.segments} seek=${seek} />`}
    ${heard && html`<${EmotionOverTime} frames=${heard} now=${at} seek=${seek} />`}
    ${heard && html`<${SegmentTable} segments=${heard.segments} seek=${seek} />`}
  </section>`;
}

/** Segments below the waveform, as wide as they are long. */
function SegmentStrip({ segments, seek }) {
  const whole = segments.at(-1).end;
  return html`<div class="strip" style=${{ marginLeft: `${AXIS}px` }} aria-hidden="true">
    ${segments.map((one) => {
      const { colour, ink } = markOf(one.emotion);
      const share = (one.end - one.start) / whole;
      return html`<span
        style=${{ width: `${100 * share}%`, background: colour, color: ink }}
        title=${`${duration(one.start)}–${duration(one.end)} ${emotionName(one.emotion)} ${percent(one.confidence)}`}
        onClick=${() => seek(one.start)}
        >${share > 0.08 ? emotionName(one.emotion) : ""}</span
      >`;
    })}
  </div>`;
}

function EmotionOverTime({ frames, now, seek }) {
  const { hop, scores } = frames;
  const data = useMemo(
    () => [scores[LABELS[0]].map((_, place) => place * hop), ...LABELS.map((label) => scores[label])],
    [frames],
  );
  const series = LABELS.map((label) => {
    const { colour, dash } = markOf(label);
    return { label: emotionName(label), colour, dash, show: Math.max(...scores[label]) >= FAINT };
  });
  return html`<${Chart}
    data=${data}
    series=${series}
    label=${{ x: t("field.time"), all: t("sound.chart", { hop: duration(hop) }) }}
    value=${percent}
    xValue=${duration}
    seconds
    now=${now}
    onPoint=${seek}
  />`;
}

/** The same in words, for whoever does not see the chart. */
function SegmentTable({ segments, seek }) {
  return html`<details class="segments">
    <summary>${t("sound.segments", { count: segments.length })}</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("sound.segments", { count: segments.length })}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t("field.time")}</th>
            <th scope="col">${t("field.emotion")}</th>
            ${LABELS.map((label) => html`<th scope="col" class="n">${emotionName(label)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${segments.map(
            (one) => html`<tr>
              <th scope="row">
                <button class="link" onClick=${() => seek(one.start)}>${duration(one.start)} – ${duration(one.end)}</button>
              </th>
              <td><${Emotion} label=${one.emotion} share=${one.confidence} /></td>
              ${LABELS.map((label) => html`<td class="n">${percent(one.scores[label])}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}
