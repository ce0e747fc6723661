"""Groups of duplicates over a whole library, kept until something changes."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, get_args

from app.analysis.groups import Ids, as_pairs, groups
from app.domain import DuplicateKind
from app.store import Session, Store, duplicates
from app.store.duplicates import Decision, Pair

Kinds = frozenset[DuplicateKind]
ALL: tuple[DuplicateKind, ...] = get_args(DuplicateKind)


class Grouped(NamedTuple):
    groups: list[Ids]  # of two clips or more, ascending, by their first
    decided: Mapping[Pair, Decision]
    decided_of: Mapping[int, Sequence[Pair]]  # by the pair's lower clip


class DuplicateGroups:
    """Whoever changes clips, pairs or decisions says so after the commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._working = threading.Lock()  # one works them out, others wait for it
        self._changes = itertools.count(1)
        self._changed: dict[DuplicateKind, int] = dict.fromkeys(ALL, 0)
        self._known: dict[Kinds, tuple[int, Grouped]] = {}

    def changed(self, kinds: Collection[DuplicateKind] = ALL) -> None:
        """Links of these kinds may be others now."""
        self._changed |= dict.fromkeys(kinds, next(self._changes))

    def of(self, kinds: Kinds) -> Grouped:
        """By links of these kinds and those that were confirmed."""
        with self._working:
            changed = max(self._changed[kind] for kind in kinds)  # before anything is read
            at, grouped = self._known.get(kinds, (-1, None))
            if grouped is None or at != changed:
                with self._store.read() as session:
                    grouped = _grouped(session, kinds)
                self._known[kinds] = changed, grouped
            return grouped


def _grouped(session: Session, kinds: Kinds) -> Grouped:
    decided = duplicates.all_decisions(session)
    links = [pair for pair, decision in decided.items() if decision == "confirm"]
    if "same_file" in kinds:
        for same in duplicates.all_same_files(session):
            links += itertools.pairwise(same)
    links += duplicates.all_pairs(session, kinds)
    apart = (pair for pair, decision in decided.items() if decision == "dismiss")
    decided_of = defaultdict[int, list[Pair]](list)
    for pair in decided:
        decided_of[pair[0]].append(pair)
    return Grouped(groups(as_pairs(links), as_pairs(apart)), decided, dict(decided_of))
