// Groups of duplicates to decide about, one by one or many at once, and what was decided before.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { DuplicateGroup } from "../components/duplicate_group.js";
import { FilterForm, filtersOf } from "../components/filters.js";
import { ErrorNote, Loaded, tell } from "../components/notes.js";
import { agreed, decide, deleteOthers, isOpen, keyOf } from "../duplicate_groups.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { go } from "../route.js";

const KINDS = ["same_file", "same_recording", "repeat_complaint"];
const FIRST_KINDS = KINDS.slice(0, 2);
const VIEWS = { review: ["confirm", "dismiss", "delete"], confirm: ["delete", "clear"], dismiss: ["clear"] };
const PAGE = 10; // groups
const REQUESTS = 20; // for a page of groups that want a decision

export default function Duplicates({ route }) {
  const { params } = route;
  const filters = filtersOf(params);
  const given = KINDS.filter((kind) => params.getAll("kind").includes(kind));
  const kinds = given.length ? given : FIRST_KINDS;
  const view = Object.hasOwn(VIEWS, params.get("decision") ?? "") ? params.get("decision") : "review";
  const look = (changes) => {
    const next = { kinds, view, filters, ...changes };
    go("duplicates", null, {
      ...next.filters,
      kind: String(next.kinds) === String(FIRST_KINDS) ? [] : next.kinds,
      decision: next.view === "review" ? null : next.view,
    });
  };
  return html`
    <section class="card" aria-label=${t("duplicates.choice")}>
      <div class="row">
        <fieldset class="chips">
          <legend>${t("duplicates.show")}</legend>
          ${Object.keys(VIEWS).map(
            (name) => html`<label class="chip">
              <input type="radio" name="decision" value=${name} checked=${name === view} onChange=${() => look({ view: name })} />
              ${t(`duplicates.view_${name}`)}
            </label>`,
          )}
        </fieldset>
        <fieldset class="chips">
          <legend>${t("duplicates.kinds")}</legend>
          ${KINDS.map((kind) => {
            const on = kinds.includes(kind);
            return html`<label class="chip">
              <input
                type="checkbox"
                name="kind"
                value=${kind}
                checked=${on}
                disabled=${on && kinds.length === 1}
                onChange=${() => look({ kinds: KINDS.filter((one) => kinds.includes(one) !== (one === kind)) })}
              />
              ${t(`kind.${kind}`)}
            </label>`;
          })}
        </fieldset>
      </div>
      <details open=${Object.keys(filters).length > 0}>
        <summary>${t("duplicates.filters")}</summary>
        <${FilterForm} filters=${filters} counts=${false} onChange=${(changed) => look({ filters: changed })} />
      </details>
    </section>
    <${Review} key=${JSON.stringify([kinds, view, filters])} kinds=${kinds} view=${view} filters=${filters} />
  `;
}

function Review({ kinds, view, filters }) {
  const [before, setBefore] = useState([]); // cursors of the pages up to this one
  const cursor = before.at(-1) ?? null;
  const page = useLoad((signal) => pageOf({ ...filters, kind: kinds }, view, cursor, signal), [cursor]);
  const [chosen, setChosen] = useState({}); // clips to keep, by group
  const [marked, setMarked] = useState([]); // groups
  const [progress, setProgress] = useState(null);
  const stopped = useRef(false);
  const list = useRef();
  const resume = useRef(null); // place of the group that was decided last

  const groups = page.value?.groups ?? [];
  const selected = groups.filter((group) => marked.includes(keyOf(group)));
  const keeperOf = (group) => chosen[keyOf(group)] ?? group.keeper;

  const [act, acting] = useAction(async (action, some) => {
    resume.current = groups.indexOf(some[0]);
    try {
      if (action === "delete") {
        stopped.current = false;
        await deleteOthers(some, keeperOf, setProgress, stopped);
      } else {
        const count = await decide(some, action);
        if (count) tell(t(`duplicates.done_${action}`, { count }));
      }
    } finally {
      setProgress(null);
      page.reload(); // also what failed may have been done in part
    }
  });

  // Asked before the buttons are disabled, so that the focus comes back to the one that was pressed.
  const ask = async (action, some) => {
    if (action !== "delete" || (await agreed(some, keeperOf))) act(action, some);
  };

  // Whoever reviews by keyboard goes on with the group that took the place of the one that went.
  useEffect(() => {
    if (resume.current === null) return;
    const cards = list.current?.querySelectorAll("[data-group]") ?? [];
    if (document.activeElement === document.body) cards[Math.min(resume.current, cards.length - 1)]?.focus();
    resume.current = null;
  }, [page.value]);

  const turn = (pages) => {
    setBefore(pages);
    setMarked([]);
    list.current.scrollIntoView();
  };
  const mark = (keys, on) =>
    setMarked((all) => [...all.filter((one) => !keys.includes(one)), ...(on ? keys : [])]);

  return html`<section ref=${list} aria-label=${t("nav.duplicates")} data-part="groups">
    <${Loaded} from=${page}>
      ${({ next }) => html`
        ${groups.length > 0
          ? html`<div class="row spread">
              <label class="check">
                <input
                  type="checkbox"
                  data-select="all"
                  checked=${selected.length === groups.length}
                  onChange=${(event) => mark(groups.map(keyOf), event.currentTarget.checked)}
                />
                ${t("duplicates.select_page")}
              </label>
              <span class="dim" data-count=${groups.length}>${t("duplicates.count", { count: groups.length })}</span>
            </div>`
          : html`<p class="card">
              ${t(before.length || next ? "duplicates.none_here" : `duplicates.none_${view}`)}
            </p>`}
        ${groups.map((group) => {
          const key = keyOf(group);
          return html`<${DuplicateGroup}
            key=${key}
            group=${group}
            view=${view}
            keeper=${keeperOf(group)}
            keep=${(id) => setChosen((all) => ({ ...all, [key]: id }))}
            marked=${marked.includes(key)}
            mark=${(on) => mark([key], on)}
            act=${(action) => ask(action, [group])}
            busy=${acting.busy}
          />`;
        })}
        <div
          class=${`card bulk ${selected.length || progress || acting.error ? "on" : ""}`}
          hidden=${!groups.length && !acting.error}
        >
          <${ErrorNote} error=${acting.error} />
          ${progress
            ? html`<div class="row" role="status">
                <progress max=${progress.all} value=${progress.done} aria-label=${t("duplicates.deleting", progress)}></progress>
                ${t("duplicates.deleting", progress)}
                <button onClick=${() => (stopped.current = true)}>${t("action.stop")}</button>
              </div>`
            : html`<div class="buttons">
                <span aria-live="polite">${t("duplicates.selected", { count: selected.length })}</span>
                ${VIEWS[view].map(
                  (action) => html`<button
                    data-bulk=${action}
                    class=${action === "delete" ? "danger" : ""}
                    disabled=${acting.busy || !selected.length}
                    onClick=${() => ask(action, selected)}
                  >
                    ${t(`duplicates.${action === "delete" ? "delete_many" : action}`)}
                  </button>`,
                )}
              </div>`}
        </div>
        ${(before.length > 0 || next) &&
        html`<p class="row">
          <button disabled=${!before.length} onClick=${() => turn(before.slice(0, -1))}>${t("duplicates.previous")}</button>
          <button data-next disabled=${!next} onClick=${() => turn([...before, next])}>${t("duplicates.next")}</button>
        </p>`}
      `}
    <//>
  </section>`;
}

/** A page of groups, and the cursor of the next. To review are those with a pair nobody has decided. */
async function pageOf(params, view, cursor, signal) {
  const reviewing = view === "review";
  const groups = [];
  for (let next = cursor, asked = 1; ; asked += 1) {
    const page = await get(
      "/duplicates",
      { ...params, decision: reviewing ? null : view, limit: PAGE, cursor: next },
      { signal },
    );
    groups.push(...(reviewing ? page.groups.filter(isOpen) : page.groups));
    next = page.next_cursor;
    if (next === null || groups.length >= PAGE || asked === REQUESTS) return { groups, next };
  }
}
