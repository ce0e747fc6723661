"""Groups of duplicates over a whole library, kept until something changes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import NamedTuple

from app.analysis.groups import Ids, as_pairs, groups
from app.domain import DuplicateKind
from app.store import Session, Store, duplicates
from app.store.duplicates import Decision, Pair

Kinds = frozenset[DuplicateKind]


class Grouped(NamedTuple):
    groups: list[Ids]  # of two clips or more, ascending, by their first
    decided: Mapping[Pair, Decision]


class DuplicateGroups:
    """Whoever changes clips, pairs or decisions says so after the commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._working = threading.Lock()  # one works them out, others wait for it
        self._changes = itertools.count(1)
        self._changed = 0
        self._known: dict[Kinds, tuple[int, Grouped]] = {}

    def changed(self) -> None:
        self._changed = next(self._changes)

    def of(self, kinds: Kinds) -> Grouped:
        """By links of these kinds and those that were confirmed."""
        with self._working:
            changed = self._changed  # before anything is read
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
    links += [one[:2] for one in duplicates.all_pairs(session) if one.kind in kinds]
    apart = (pair for pair, decision in decided.items() if decision == "dismiss")
    return Grouped(groups(as_pairs(links), as_pairs(apart)), decided)
