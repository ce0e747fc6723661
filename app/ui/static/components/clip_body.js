// What is shown of a clip, wherever it is opened: its sound, its scores, what is known, its files.

import { html } from "../html.js";
import { t } from "../language.js";
import { ClipFacts, ClipFiles } from "./clip_facts.js";
import { ClipSound } from "./clip_sound.js";
import { ScoreBars } from "./scores.js";

/** told: the service's answer that the visitor can download, if it says more than the clip. */
export function ClipBody({ clip, told }) {
  return html`
    ${clip.has_audio ? html`<${ClipSound} clip=${clip} />` : html`<p class="dim">${t("clip.no_audio")}</p>`}
    <div class="two">
      <div><h3>${t("clip.scores")}</h3><${ScoreBars} scores=${clip.scores} /></div>
      <div>
        <h3>${t("clip.facts")}</h3>
        <${ClipFacts} clip=${clip} />
        <${ClipFiles} clip=${clip} told=${told} />
      </div>
    </div>
  `;
}
