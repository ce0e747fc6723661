"""Duplicates of one clip, groups of them over the library, and what is decided of pairs."""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
import itertools
from collections.abc import Collection, Hashable
from typing import NamedTuple

import numpy as np

from app.analysis.groups import Ids, as_pairs, holding
from app.domain import ClipFilter, DuplicateKind
from app.errors import InvalidParameter, NotFound
from app.library.duplicate_groups import Grouped, Kinds
from app.library.library import Library
from app.store import Session, duplicates
from app.store.duplicates import Decision, Duplicate, FileFacts, Pair

LOSSLESS = ("flac", "alac", "ape", "pcm_f", "pcm_s", "pcm_u", "tta", "wavpack")
LISTED = 500  # pairs of one group that are told


class GroupPair(NamedTuple):
    clip_ids: Pair
    kind: DuplicateKind | None  # None: nothing was found, somebody confirmed it
    similarity: float | None
    decision: Decision | None


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateGroup:
    members: list[int]  # ascending
    keeper: int  # the one to keep, if one is to be
    pairs: list[GroupPair]  # the most alike first, up to LISTED of them


def of_clip(library: Library, clip_id: int, limit: int) -> list[Duplicate]:
    """By the other clip's id. Raises NotFound when there is no such clip."""
    clip = library.clip(clip_id)
    repeats = library.repeats.of(clip_id)
    with library.store.read() as session:
        return duplicates.of_clip(session, clip, limit, repeats)


def decide(library: Library, pairs: Collection[Pair], decision: Decision | None) -> None:
    """Say of pairs of clips that they are duplicates, are none, or take back what was said.

    Raises:
        InvalidParameter: a pair is twice the same clip.
        NotFound: a clip does not exist; nothing was changed.
    """
    for one, other in pairs:
        if one == other:
            raise InvalidParameter("pairs", f"clip {one} is no pair with itself.")
    try:
        with library.store.write() as session:
            missing = duplicates.decide(session, pairs, decision, dt.datetime.now(dt.UTC))
    finally:  # also a commit that failed may have happened
        library.duplicate_groups.changed()
    if missing:
        raise NotFound(f"There is no clip {missing[0]}.")


def page(
    library: Library,
    kinds: Kinds,
    decision: Decision | None,
    where: ClipFilter,
    limit: int,
    after: Pair | None = None,
) -> tuple[list[DuplicateGroup], Pair | None]:
    """Groups by their first two clips, and what to ask for the next ones after, if there are more.

    Args:
        kinds: of the links that make groups; clips confirmed to be duplicates are linked too.
        decision: groups with such a pair only; dismissed pairs, which are no links, each alone.
        where: groups with a clip that matches only.
        after: what the page before told.
    """
    grouped = library.duplicate_groups.of(kinds)
    found = grouped.groups
    if decision is not None:
        pairs = as_pairs(sorted(pair for pair, its in grouped.decided.items() if its == decision))
        found = list(pairs) if decision == "dismiss" else holding(found, pairs)
    if where:
        matching = library.filters.ids(where)
        found = _with_any(found, matching)
    start = 0 if after is None else bisect.bisect_right(found, after, key=_first_two)
    some = found[start : start + limit]
    with library.store.read() as session:
        told = [_told(session, grouped, kinds, its.tolist()) for its in some]
    further = start + limit < len(found)
    # Clips may have been deleted this moment.
    return [one for one in told if len(one.members) > 1], _first_two(some[-1]) if further else None


def _first_two(group: Ids) -> Pair:
    return int(group[0]), int(group[1])


def _with_any(groups: list[Ids], wanted: Ids) -> list[Ids]:
    """Those of the groups that have one of these clips."""
    if not groups:
        return []
    starts = np.cumsum([0, *(len(its) for its in groups[:-1])])
    has = np.logical_or.reduceat(np.isin(np.concatenate(groups), wanted), starts)
    return [its for its, one in zip(groups, has.tolist(), strict=True) if one]


def _told(session: Session, grouped: Grouped, kinds: Kinds, members: list[int]) -> DuplicateGroup:
    facts = duplicates.file_facts(session, members)  # without those deleted this moment
    pairs: dict[Pair, GroupPair] = {}
    for pair in itertools.chain.from_iterable(grouped.decided_of.get(i, ()) for i in facts):
        if pair[1] in facts:
            pairs[pair] = GroupPair(pair, None, None, None)
    for one in duplicates.pairs_among(session, facts):
        if one.kind in kinds:
            pair = one.low_id, one.high_id
            pairs[pair] = GroupPair(pair, one.kind, one.similarity, None)
    if "same_file" in kinds:
        first_with: dict[Hashable, int] = {}
        for clip_id, its in facts.items():
            for same in its.hashes():
                pair = first_with.setdefault(same, clip_id), clip_id
                if pair[0] != clip_id:
                    pairs[pair] = GroupPair(pair, "same_file", 1.0, None)
    told = [one._replace(decision=grouped.decided.get(pair)) for pair, one in pairs.items()]
    told.sort(key=lambda one: (-(one.similarity or 0.0), one.clip_ids))
    keeper = min(facts, key=lambda clip_id: _worse(facts[clip_id], clip_id), default=members[0])
    return DuplicateGroup(list(facts), keeper, told[:LISTED])


def _worse(facts: FileFacts, clip_id: int) -> tuple[bool, int, float, int]:
    """The lower, the rather it is to be kept: nothing lost by an encoder, then what has the most
    samples a second, then the longest, then the first."""
    lossless = facts.codec is not None and facts.codec.startswith(LOSSLESS)
    return not lossless, -(facts.sample_rate or 0), -(facts.duration or 0.0), clip_id
