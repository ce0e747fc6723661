"""Repeat complaints: other recordings of a customer, alike in sound and emotion, within a time."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.analysis.repeats import NEIGHBOURS, Thresholds, are_repeats, emotion_agreement, locality
from app.domain import DuplicateKind
from app.library.current import Current
from app.library.duplicate_groups import DuplicateGroups
from app.library.nice import be_nice
from app.library.roles import Roles
from app.library.spaces import Space
from app.settings import Settings
from app.store import Session, Store, embeddings, repeats
from app.store.duplicates import FoundPair
from app.store.repeats import Facts
from index.contract import Hits

AT_ONCE: Final = 256  # clips of one search
EACH_WAY: Final = 20  # clips of a customer, before a clip and after it, that it is compared with
KIND: Final[DuplicateKind] = "repeat_complaint"

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


class Repeats:
    """Pairs of clips, worked out in the background from the active model's embeddings, again where
    a clip, the model or a threshold has changed."""

    def __init__(
        self, settings: Settings, store: Store, roles: Roles, groups: DuplicateGroups
    ) -> None:
        self._store = store
        self._roles = roles
        self._groups = groups
        self._window = dt.timedelta(days=settings.repeat_window_days)
        self._thresholds = Thresholds(settings.repeat_nearness, settings.repeat_emotion)
        self._up_to_date: int | None = None  # by what all clips that are compared were
        self._stopping = threading.Event()
        self._neighbours = Neighbours()

    def stop(self) -> None:
        """Give up what is under way."""
        self._stopping.set()

    def close(self) -> None:
        """When nothing is under way any more."""
        self._neighbours.close()

    def of(self, clip_id: int) -> list[FoundPair] | None:
        """Those of a clip that was added or changed a moment ago; None where those that are stored
        are right.

        Raises:
            Unavailable: the database does not answer.
        """
        space = self._roles.spaces.active
        with self._store.read() as session:
            if repeats.is_compared(session, clip_id, self._by(space)):
                return None
            return self._found(session, space.index.current(), repeats.facts(session, [clip_id]))

    def catch_up(self) -> None:
        """Look for the repeats of clips that were added or changed."""
        space, after = self._roles.spaces.active, 0
        by = self._by(space)
        while not self._stopping.is_set() and self._up_to_date != by:
            with self._store.write() as session:
                if repeats.outdate(session, by, 10 * AT_ONCE) == 0:
                    self._up_to_date = by
        while not self._stopping.is_set():
            with self._store.read() as session:
                clip_ids = repeats.not_compared(session, after, AT_ONCE)
                if not clip_ids:
                    return
                compared = self._comparable(session, space, clip_ids)
                found = self._found(session, space.index.current(), compared)
            with self._store.write() as session:
                changed = repeats.replace(session, by, compared.values(), found)
            if changed:
                self._groups.changed({KIND})
            after = clip_ids[-1]

    def _by(self, space: Space) -> int:
        """A number of what repeats are looked for by."""
        what = f"1 {space.model.digest} {self._window} {self._thresholds}"
        return zlib.crc32(what.encode())

    def _comparable(
        self, session: Session, space: Space, clip_ids: Sequence[int]
    ) -> dict[int, Facts]:
        """Without those that the index is yet to be told of."""
        embedded = embeddings.get(session, space.model_row, clip_ids).keys()
        return {
            clip_id: one
            for clip_id, one in repeats.facts(session, clip_ids).items()
            if not one.indexable or clip_id in space.index or clip_id not in embedded
        }

    def _found(
        self, session: Session, current: Current, asked: dict[int, Facts]
    ) -> list[FoundPair]:
        around = _Around(current, self._neighbours)
        nearest = around.nearest(asked)
        candidates = {
            clip_id: repeats.of_customer(session, asked[clip_id], self._window, EACH_WAY)
            for clip_id in nearest
        }
        voices = repeats.facts(session, {other for its in nearest.values() for other in its})
        pairs: dict[tuple[int, int], FoundPair] = {}
        for clip_id, near in nearest.items():
            one = asked[clip_id]
            others = candidates[clip_id] | {i: voices[i] for i in near if i in voices}
            for found in self._repeats(one, others.values(), around):
                pairs[found[:2]] = found
        of = repeats.copies(session, {clip_id for pair in pairs for clip_id in pair})
        return [one for (low, high), one in pairs.items() if of[low].isdisjoint(of[high])]

    def _repeats(self, one: Facts, others: Iterable[Facts], around: _Around) -> list[FoundPair]:
        may_be = [other for other in others if self._may_be(one, other)]
        if one.scores is None or not may_be:
            return []
        agreements = emotion_agreement(np.array(one.scores), np.array([o.scores for o in may_be]))
        alike = agreements >= self._thresholds.emotion
        directions = around.directions(
            [one.clip_id, *(o.clip_id for o, its in zip(may_be, alike, strict=True) if its)]
        )
        own = directions.pop(one.clip_id, None)
        if own is None or not directions:
            return []
        kept = [place for place, other in enumerate(may_be) if other.clip_id in directions]
        ids = [may_be[place].clip_id for place in kept]
        similarities = np.stack([directions[i] for i in ids]).astype(np.float64) @ own
        same = np.array([may_be[place].customer_id == one.customer_id for place in kept])
        same &= one.customer_id is not None
        local, *locals_ = around.locality([one.clip_id, *ids])
        are = are_repeats(
            similarities, agreements[kept], same, local, np.stack(locals_), self._thresholds
        )
        return [
            FoundPair(
                min(one.clip_id, ids[place]),
                max(one.clip_id, ids[place]),
                KIND,
                float(np.clip(similarities[place], -1, 1)),
            )
            for place in np.flatnonzero(are).tolist()
        ]

    def _may_be(self, one: Facts, other: Facts) -> bool:
        return (
            other.scores is not None
            and (
                None in (one.customer_id, other.customer_id) or one.customer_id == other.customer_id
            )
            and (one.call_id is None or one.call_id != other.call_id)
            and abs(one.at - other.at) <= self._window
            and one.hashes.isdisjoint(other.hashes)
        )


class Neighbours:
    """The nearest of many clips at once, by as many threads of low priority as there are cores: a
    search has one, and a library of a million clips is gone through for minutes."""

    def __init__(self) -> None:
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "neighbours", initializer=be_nice)

    def __call__(
        self, search: Callable[[NDArray[np.float32], int], list[Hits]], asked: NDArray[np.float32]
    ) -> list[Hits]:
        """Up to NEIGHBOURS + 1 of each direction (q, D): it may be one of them itself."""
        if len(asked) < 2 * self._threads:
            return search(asked, NEIGHBOURS + 1)
        parts = np.array_split(asked, self._threads)
        found = self._pool.map(lambda part: search(part, NEIGHBOURS + 1), parts)
        return list(itertools.chain.from_iterable(found))

    def close(self) -> None:
        self._pool.shutdown()


class _Around:
    """Neighbours of clips in one build of the index, each asked for once."""

    def __init__(self, current: Current, neighbours: Neighbours) -> None:
        self._current = current
        self._neighbours = neighbours
        self._known: dict[int, tuple[list[int], Floats]] = {}  # nearest others, and locality
        self._directions: dict[int, NDArray[np.float32]] = {}

    def directions(self, clip_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """(D,) of those of the clips that the index holds."""
        return self._current.directions_of(clip_ids)

    def nearest(self, clip_ids: Iterable[int]) -> dict[int, list[int]]:
        """The ten nearest others of those of the clips that the index holds."""
        wanted = list(clip_ids)
        self._ask(wanted)
        return {i: self._known[i][0] for i in wanted if i in self._known}

    def locality(self, clip_ids: Sequence[int]) -> list[Floats]:
        """(2,) of each."""
        self._ask(clip_ids)
        unknown = locality(np.zeros(0))
        return [self._known[i][1] if i in self._known else unknown for i in clip_ids]

    def _ask(self, clip_ids: Sequence[int]) -> None:
        unknown = self.directions([i for i in clip_ids if i not in self._known])
        if not unknown:
            return
        found = self._neighbours(self._current.search, np.stack(list(unknown.values())))
        for clip_id, hits in zip(unknown, found, strict=True):
            others = hits.ids != clip_id
            near = hits.ids[others][:NEIGHBOURS].tolist()
            self._known[clip_id] = near, locality(hits.similarities[others][:NEIGHBOURS])
