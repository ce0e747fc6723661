// A group of duplicates, its clips side by side, and what can be done with it.

import { useState } from "preact/hooks";
import { get } from "../api.js";
import { MOST_DISMISSED, canDismiss, isDecided, isOpen, keyOf, named } from "../duplicate_groups.js";
import { html } from "../html.js";
import { duration, instant, percent, t } from "../language.js";
import { useLoad } from "../loading.js";
import { address } from "../route.js";
import { Loaded, goneOnly } from "./notes.js";
import { PlayButton } from "./player.js";
import { Emotion } from "./scores.js";

const SHOWN = 12; // clips at first
const FEW_PAIRS = 4;

export function DuplicateGroup({ group, view, keeper, keep, marked, mark, act, busy }) {
  const key = keyOf(group);
  const [most, setMost] = useState(SHOWN);
  // The suggested one is always among those that are shown.
  const order = [group.keeper, ...group.clip_ids.filter((id) => id !== group.keeper)];
  const clips = useLoad(
    (signal) => Promise.all(order.slice(0, most).map((id) => get(`/clips/${id}`, {}, { signal }).catch(goneOnly))),
    [key, most],
  );
  const name = t("duplicates.group", { ids: named(group.clip_ids, 6) });
  const actions = [
    ...(isOpen(group) ? ["confirm", "dismiss"] : []),
    ...(view === "dismiss" ? [] : ["delete"]),
    ...(isDecided(group) ? ["clear"] : []),
  ];
  const pairs = html`<ul class="pairs">
    ${group.pairs.map(
      ({ clip_ids: [one, other], kind, similarity, decision }) => html`<li>
        ${t("duplicates.pair", { one: String(one), other: String(other) })}${" "}
        ${kind ? t(`kind.${kind}`) : t("alike.only_decided")}${similarity === null ? "" : ` · ${percent(similarity)}`}
        ${decision && html` · <strong>${t(`decision.${decision}`)}</strong>`}
      </li>`,
    )}
  </ul>`;

  return html`<article class="card" tabindex="-1" data-group=${key} aria-label=${name}>
    <label class="check">
      <input type="checkbox" data-select checked=${marked} onChange=${(event) => mark(event.currentTarget.checked)} />
      <strong><span class="unseen">${t("duplicates.select")} </span>${name}</strong>
    </label>
    <${Loaded} from=${clips}>
      ${(found) => html`<fieldset class="members">
        <legend class="unseen">${t("duplicates.keep_which")}</legend>
        ${found.map(
          (clip) =>
            clip &&
            html`<${Member}
              key=${clip.clip_id}
              clip=${clip}
              group=${group}
              kept=${view === "dismiss" ? null : clip.clip_id === keeper}
              keep=${keep}
            />`,
        )}
      </fieldset>`}
    <//>
    ${order.length > most &&
    html`<p>
      <button class="link" onClick=${() => setMost(most + SHOWN)}>
        ${t("duplicates.more", { count: order.length - most })}
      </button>
    </p>`}
    ${group.pairs.length > FEW_PAIRS
      ? html`<details><summary>${t("duplicates.pairs", { count: group.pairs.length })}</summary>${pairs}</details>`
      : pairs}
    <p class="buttons">
      ${actions.map(
        (action) => html`<button
          data-action=${action}
          class=${{ confirm: "main", delete: "danger" }[action] ?? ""}
          disabled=${busy || (action === "dismiss" && !canDismiss(group))}
          onClick=${() => act(action)}
        >
          ${t(`duplicates.${action}`)}<span class="unseen">: ${name}</span>
        </button>`,
      )}
    </p>
    ${!canDismiss(group) && isOpen(group) &&
    html`<p class="dim">${t("duplicates.too_many", { count: MOST_DISMISSED })}</p>`}
  </article>`;
}

/** `kept`: whether it is to be kept, null where that is not asked. */
function Member({ clip, group, kept, keep }) {
  const id = clip.clip_id;
  const facts = [
    ["customer_id", clip.customer_id && html`<a href=${address("customers", clip.customer_id)}>${clip.customer_id}</a>`],
    [clip.recorded_at ? "recorded_at" : "stored_at", instant(clip.recorded_at ?? clip.stored_at)],
    ["duration", duration(clip.duration)],
    ["tags", clip.tags.length > 0 && clip.tags.map((tag) => html`<span class="tag">${tag}</span> `)],
  ];
  return html`<div class=${`member ${kept ? "kept" : ""}`} data-member=${id}>
    <div class="row">
      <${PlayButton} clip=${clip} />
      <a href=${address("clip", id)}>${t("clip.name", { id: String(id) })}</a>
      <${Emotion} label=${clip.emotion} share=${clip.confidence} />
    </div>
    <dl class="facts">
      ${facts.map(([name, value]) => value && html`<div><dt>${t(`field.${name}`)}</dt><dd>${value}</dd></div>`)}
    </dl>
    ${kept !== null &&
    html`<label class="check">
      <input type="radio" name=${`keep-${group.clip_ids[0]}`} value=${id} checked=${kept} onChange=${() => keep(id)} />
      <span>
        ${t("duplicates.keep")}<span class="unseen"> ${t("clip.name", { id: String(id) })}</span>
        ${id === group.keeper && html` <span class="tag">${t("duplicates.suggested")}</span>`}
      </span>
    </label>`}
  </div>`;
}
