// Emotions: a mark with its name, and scores as bars.

import { LABELS, markOf } from "../emotions.js";
import { html } from "../html.js";
import { emotionName, percent, t } from "../language.js";

export const Swatch = ({ colour, shape }) =>
  html`<svg class="swatch" viewBox="-6 -6 12 12" aria-hidden="true"><path fill=${colour} d=${shape} /></svg>`;

/** An emotion as mark and name, with its share where one is given. */
export function Emotion({ label, share }) {
  if (!label) return html`<span class="dim">${emotionName(null)}</span>`;
  return html`<span class="emotion"
    ><${Swatch} ...${markOf(label)} />${emotionName(label)}${share == null ? "" : ` ${percent(share)}`}</span
  >`;
}

/** Scores by label, the highest first. */
export function ScoreBars({ scores }) {
  if (!scores) return html`<p class="dim">${t("clip.no_scores")}</p>`;
  const order = LABELS.toSorted((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  return html`<dl class="bars">
    ${order.map((label, place) => {
      const { colour, shape } = markOf(label);
      return html`<div class=${place ? "" : "first"} data-score=${label}>
        <dt><${Swatch} colour=${colour} shape=${shape} />${emotionName(label)}</dt>
        <dd>
          <span class="bar" style=${{ width: `${100 * (scores[label] ?? 0)}%`, background: colour }}></span>
          <span class="value">${percent(scores[label] ?? 0, 1)}</span>
        </dd>
      </div>`;
    })}
  </dl>`;
}

/** Shares of emotions as one bar; the parts' names are in its label and the larger ones on it. */
export function EmotionMix({ emotions }) {
  const parts = LABELS.filter((label) => (emotions[label] ?? 0) > 0.001);
  const named = parts.toSorted((a, b) => emotions[b] - emotions[a]);
  return html`<div
    class="mix"
    role="img"
    aria-label=${named.map((label) => `${emotionName(label)} ${percent(emotions[label])}`).join(", ")}
  >
    ${parts.map(
      (label) => html`<span
        style=${{ flexGrow: emotions[label], background: markOf(label).colour, color: markOf(label).ink }}
        title=${`${emotionName(label)} ${percent(emotions[label], 1)}`}
        >${emotions[label] > 0.14 ? emotionName(label) : ""}</span
      >`,
    )}
  </div>`;
}
