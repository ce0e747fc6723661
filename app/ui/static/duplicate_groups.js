// What is done with groups of duplicates: pairs decided, all clips but the kept deleted.

import { get, post, remove } from "./api.js";
import { confirmed } from "./components/dialogs.js";
import { goneOnly, tell } from "./components/notes.js";
import { t } from "./language.js";

const MOST_PAIRS = 1000; // of one request
export const MOST_DISMISSED = 200; // clips of a group: their pairs are 20 requests
const NAMED = 30; // clips in a question

export const keyOf = (group) => group.clip_ids.join("-");
export const isOpen = (group) => group.pairs.some((pair) => pair.decision === null);
export const isDecided = (group) => group.pairs.some((pair) => pair.decision !== null);
const LISTED = 500; // pairs of a group that the API tells of
export const canDismiss = ({ clip_ids: ids, pairs }) => ids.length <= MOST_DISMISSED && pairs.length < LISTED;

/** The pairs of a group that an action is about. */
function pairsFor({ clip_ids: ids, pairs }, action) {
  if (action === "clear") return pairs.filter((pair) => pair.decision !== null).map((pair) => pair.clip_ids);
  const open = pairs.filter((pair) => pair.decision === null).map((pair) => pair.clip_ids);
  if (action === "confirm") return open;
  // Every pair: not all links are listed (of one file's copies only those with the first), and a link
  // that is found later would bring together again what was not said to stay apart.
  const decided = new Set(pairs.filter((pair) => pair.decision !== null).map((pair) => String(pair.clip_ids)));
  return ids
    .flatMap((one, place) => ids.slice(place + 1).map((other) => [one, other]))
    .filter((pair) => !decided.has(String(pair)));
}

/** Confirms, dismisses or clears; how many pairs that were. */
export async function decide(groups, action) {
  const pairs = groups
    .filter((group) => action !== "dismiss" || canDismiss(group))
    .flatMap((group) => pairsFor(group, action));
  let count = 0;
  for (let at = 0; at < pairs.length; at += MOST_PAIRS) {
    const { decided } = await post("/duplicates/decisions", { pairs: pairs.slice(at, at + MOST_PAIRS), action });
    count += decided;
  }
  return count;
}

/**
 * The clips that go if one is kept. Where a person has confirmed pairs of the group, those that
 * confirmed pairs tie to the kept one; nobody has said anything of the rest.
 */
function others({ clip_ids: ids, pairs }, keeper) {
  const confirmedPairs = pairs.filter((pair) => pair.decision === "confirm").map((pair) => pair.clip_ids);
  if (!confirmedPairs.length) return ids.filter((id) => id !== keeper);
  const tied = new Set([keeper]);
  for (let before = 0; before < tied.size; ) {
    before = tied.size;
    for (const pair of confirmedPairs) if (pair.some((id) => tied.has(id))) pair.forEach((id) => tied.add(id));
  }
  return ids.filter((id) => id !== keeper && tied.has(id));
}

/** Whether a group may hold recordings of their own; of pairs that were only decided nothing is known. */
const mayBeRepeats = ({ pairs }) =>
  pairs.length >= LISTED || pairs.some(({ kind }) => kind === null || kind === "repeat_complaint");

/** Whether the visitor wants all clips but the kept deleted. */
export async function agreed(groups, keeperOf) {
  const some = groups.filter((group) => others(group, keeperOf(group)).length > 0);
  if (!some.length) {
    tell(t("duplicates.nothing_tied"));
    return false;
  }
  const gone = some.flatMap((group) => others(group, keeperOf(group)));
  const text = [
    t("duplicates.delete_text", { ids: named(gone, NAMED), kept: named(some.map(keeperOf), NAMED) }),
    some.some(mayBeRepeats) && t("duplicates.delete_repeats"),
  ];
  return confirmed(
    t("duplicates.delete_title", { count: gone.length }),
    text.filter(Boolean).join(" "),
    t("action.delete"),
  );
}

/** Deletes all clips of the groups but the kept, one after the other, until it is stopped. */
export async function deleteOthers(groups, keeperOf, onProgress, stopped) {
  const all = groups.reduce((sum, group) => sum + others(group, keeperOf(group)).length, 0);
  let [done, deleted, left] = [0, 0, 0];
  try {
    for (const group of groups) {
      const keeper = keeperOf(group);
      // Somebody may have deleted it meanwhile: then the others are all there is.
      const there = group.clip_ids.includes(keeper) && (await get(`/clips/${keeper}`).catch(goneOnly));
      if (!there) left += 1;
      for (const id of there ? others(group, keeper) : []) {
        if (stopped.current) return;
        onProgress({ done, all });
        deleted += (await remove(`/clips/${id}`).then(() => 1, goneOnly)) ?? 0;
        done += 1;
      }
    }
  } finally {
    if (deleted) tell(t("library.deleted", { count: deleted }));
    if (left) tell(t("duplicates.left", { count: left }));
  }
}

export const named = (ids, most) =>
  ids.length > most
    ? t("duplicates.and_more", { ids: ids.slice(0, most).join(", "), count: ids.length - most })
    : ids.join(", ");
