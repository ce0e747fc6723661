// Clips as rows: play, what was heard, whose it is, when.

import { html } from "../html.js";
import { duration, fixed, instant, t } from "../language.js";
import { address } from "../route.js";
import { PlayButton } from "./player.js";
import { Emotion } from "./scores.js";

/**
 * A table of clips (or neighbours, which have a `similarity`).
 * `more` gives a further cell, {head, cell(clip)}.
 */
export function ClipTable({ clips, label, more = [] }) {
  const alike = clips.some((clip) => clip.similarity !== undefined);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
    <table class="clips">
      <thead>
        <tr>
          <th scope="col"><span class="unseen">${t("action.play")}</span></th>
          <th scope="col">${t("field.clip")}</th>
          ${alike && html`<th scope="col" class="n">${t("field.similarity")}</th>`}
          <th scope="col">${t("field.emotion")}</th>
          <th scope="col">${t("field.customer_id")}</th>
          <th scope="col" class="wide">${t("field.agent_id")}</th>
          <th scope="col">${t("field.when")}</th>
          <th scope="col" class="n">${t("field.duration")}</th>
          <th scope="col" class="wide">${t("field.tags")}</th>
          ${more.map(({ head }) => html`<th scope="col">${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${clips.map(
          (clip) => html`<tr key=${clip.clip_id} data-clip=${clip.clip_id}>
            <td><${PlayButton} clip=${clip} /></td>
            <th scope="row"><a href=${address("clip", clip.clip_id)}>${String(clip.clip_id)}</a></th>
            ${alike && html`<td class="n">${fixed(clip.similarity, 3)}</td>`}
            <td><${Emotion} label=${clip.emotion} share=${clip.confidence} /></td>
            <td>${clip.customer_id && html`<a href=${address("customers", clip.customer_id)}>${clip.customer_id}</a>`}</td>
            <td class="wide">${clip.agent_id && html`<a href=${address("agents", clip.agent_id)}>${clip.agent_id}</a>`}</td>
            <td>${instant(clip.recorded_at ?? clip.stored_at)}</td>
            <td class="n">${duration(clip.duration)}</td>
            <td class="wide">${clip.tags.map((tag) => html`<span class="tag">${tag}</span> `)}</td>
            ${more.map(({ cell }) => html`<td>${cell(clip)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
