// What is known of a clip beside its scores, and the files of it.

import { save, saveFrom } from "../api.js";
import { html } from "../html.js";
import { duration, instant, percent, t } from "../language.js";
import { useAction } from "../loading.js";
import { address } from "../route.js";
import { ErrorNote } from "./notes.js";

export function ClipFacts({ clip }) {
  const classifiers = Object.entries(clip.classifiers ?? {});
  const facts = [
    ["customer_id", clip.customer_id && html`<a href=${address("customers", clip.customer_id)}>${clip.customer_id}</a>`],
    ["agent_id", clip.agent_id && html`<a href=${address("agents", clip.agent_id)}>${clip.agent_id}</a>`],
    ["call_id", clip.call_id],
    ["recorded_at", clip.recorded_at && instant(clip.recorded_at)],
    ["stored_at", instant(clip.stored_at)],
    ["duration", duration(clip.duration)],
    ["channel", t(`channel.${clip.channel}`)],
    ["tags", clip.tags.length > 0 && clip.tags.map((tag) => html`<span class="tag">${tag}</span> `)],
    ["metadata", Object.keys(clip.metadata).length > 0 && html`<code>${JSON.stringify(clip.metadata)}</code>`],
    ["model", html`${clip.model.id}${clip.model.bundled ? ` (${t("model.small")})` : ""}`],
    ["indexed", t(clip.indexed ? "answer.yes" : "answer.no")],
    [
      "duplicate_of",
      clip.duplicate_of &&
        html`<a href=${address("clip", clip.duplicate_of)}>${t("clip.name", { id: String(clip.duplicate_of) })}</a>${" "}
          (${t(`kind.${clip.duplicate_kind}`)})`,
    ],
    [
      "classifiers",
      classifiers.length > 0 &&
        classifiers.map(([name, said]) => html`<div>${name}: ${said.label} ${percent(said.probability)}</div>`),
    ],
  ];
  return html`<dl class="facts">
    ${facts.map(([name, value]) => value && html`<div data-fact=${name}><dt>${t(`field.${name}`)}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/** Buttons that give the clip's files: what the API says of it, its embedding, its audio. */
export function ClipFiles({ clip, told = clip }) {
  const id = clip.clip_id;
  const [download, downloading] = useAction((what) =>
    what === "json"
      ? save(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" }), `clip_${id}.json`)
      : saveFrom(`/clips/${id}/${what}`, `clip_${id}.${what === "audio" ? "flac" : "npy"}`),
  );
  return html`
    <p class="buttons">
      <button data-download="json" onClick=${() => download("json")}>JSON</button>
      <button data-download="embedding" onClick=${() => download("embedding")}>${t("clip.embedding")}</button>
      ${clip.has_audio && html`<button data-download="audio" onClick=${() => download("audio")}>${t("clip.audio")}</button>`}
    </p>
    <${ErrorNote} error=${downloading.error} />
  `;
}
