// What is like a clip: its nearest neighbours and its duplicates.

import { useState } from "preact/hooks";
import { get, post } from "../api.js";
import { html } from "../html.js";
import { percent, t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { ClipTable } from "./clip_table.js";
import { ErrorNote, Loaded, Note, goneOnly, tell } from "./notes.js";

const STEPS = [10, 25, 100];
const MOST = 50; // duplicates, each of which is asked for

export function Neighbours({ clipId }) {
  const [k, setK] = useState(STEPS[0]);
  const [others, setOthers] = useState(false);
  const found = useLoad(
    (signal) => get(`/clips/${clipId}/similar`, { k, group_by: others ? "customer_id" : null }, { signal }),
    [clipId, k, others],
  );
  return html`<section class="card" data-part="neighbours">
    <h2>${t("alike.neighbours")}</h2>
    <p class="row">
      <label>
        ${t("alike.k")}
        <select value=${k} onChange=${(event) => setK(Number(event.currentTarget.value))}>
          ${STEPS.map((n) => html`<option value=${n}>${n}</option>`)}
        </select>
      </label>
      <label class="check">
        <input type="checkbox" checked=${others} onChange=${(event) => setOthers(event.currentTarget.checked)} />
        ${t("alike.each_customer")}
      </label>
    </p>
    <${Loaded} from=${found}>
      ${({ neighbours, index }) => html`
        ${index.state !== "ready" && html`<${Note} kind="warning">${t(`index.${index.state}`)}<//>`}
        ${neighbours.length
          ? html`<${ClipTable} clips=${neighbours} label=${t("alike.neighbours")} />`
          : html`<p class="dim">${t("alike.no_neighbours")}</p>`}
      `}
    <//>
  </section>`;
}

/** The duplicates that were found of a clip, or decided about, each with its clip. */
export function Duplicates({ clipId }) {
  const found = useLoad(async (signal) => {
    const { duplicates } = await get(`/clips/${clipId}/duplicates`, {}, { signal });
    const clips = await Promise.all(
      duplicates.slice(0, MOST).map((one) => get(`/clips/${one.clip_id}`, {}, { signal }).catch(goneOnly)),
    );
    return duplicates.slice(0, MOST).flatMap((one, place) => (clips[place] ? [{ ...clips[place], link: one }] : []));
  }, [clipId]);
  const [decide, deciding] = useAction(async (other, action) => {
    await post("/duplicates/decisions", { pairs: [[clipId, other]], action });
    tell(t(`duplicates.done_${action}`, { count: 1 }));
    found.reload();
  });

  const link = {
    head: t("alike.kind"),
    cell: ({ clip_id, link: { kind, similarity, decision } }) => html`<span class="row">
      <span>
        ${kind ? t(`kind.${kind}`) : t("alike.only_decided")}${similarity === null ? "" : ` · ${percent(similarity)}`}
        ${decision && html` · <strong>${t(`decision.${decision}`)}</strong>`}
      </span>
      ${decision === null
        ? html`
            <button class="small" disabled=${deciding.busy} onClick=${() => decide(clip_id, "confirm")}>
              ${t("duplicates.confirm")}
            </button>
            <button class="small" disabled=${deciding.busy} onClick=${() => decide(clip_id, "dismiss")}>
              ${t("duplicates.dismiss")}
            </button>
          `
        : html`<button class="small" disabled=${deciding.busy} onClick=${() => decide(clip_id, "clear")}>
            ${t("duplicates.clear")}
          </button>`}
    </span>`,
  };
  return html`<section class="card" data-part="duplicates">
    <h2>${t("alike.duplicates")}</h2>
    <${ErrorNote} error=${deciding.error} />
    <${Loaded} from=${found}>
      ${(clips) =>
        clips.length
          ? html`<${ClipTable} clips=${clips} label=${t("alike.duplicates")} more=${[link]} />
              ${clips.length >= MOST && html`<p class="dim">${t("alike.most", { count: MOST })}</p>`}`
          : html`<p class="dim">${t("alike.no_duplicates")}</p>`}
    <//>
  </section>`;
}
