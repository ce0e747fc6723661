"""Repeat complaints: other recordings of a customer, alike in sound and emotion, within a time."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.analysis.repeats import Thresholds, are_repeats, depends_on_other, emotion_agreement
from app.domain import DuplicateKind
from app.library.duplicate_groups import DuplicateGroups
from app.library.neighbours import Localities, Neighbours, Surroundings
from app.library.roles import Roles
from app.library.spaces import Space
from app.settings import Settings
from app.store import Store, embeddings, repeats
from app.store.duplicates import FoundPair
from app.store.repeats import Facts

AT_ONCE: Final = 256  # clips of one search
TOLD_SECONDS: Final = 10.0  # between two times that groups are worked out anew
EACH_WAY: Final = 20  # clips of a customer, before a clip and after it, that it is compared with
KIND: Final[DuplicateKind] = "repeat_complaint"

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


class _Asked(NamedTuple):
    """A clip with those that may be repeats of it."""

    one: Facts
    others: list[int]
    similarities: Floats
    agreements: Floats
    same_customer: NDArray[np.bool_]

    def uncertain(self, local: Floats, thresholds: Thresholds) -> list[int]:
        """Those of the others whose own surroundings decide."""
        depends = depends_on_other(self.similarities, self.same_customer, local, thresholds)
        return [other for other, its in zip(self.others, depends, strict=True) if its]


class Repeats:
    """Pairs of clips, worked out in the background from the active model's embeddings, again where
    a clip, the model or a threshold has changed, or where the library is twice what it was."""

    def __init__(
        self, settings: Settings, store: Store, roles: Roles, groups: DuplicateGroups
    ) -> None:
        self._store = store
        self._roles = roles
        self._groups = groups
        self._window = dt.timedelta(days=settings.repeat_window_days)
        self._thresholds = Thresholds(settings.repeat_nearness, settings.repeat_emotion)
        self._up_to_date: int | None = None  # by what all clips that are compared were
        self._doublings = 0  # of the library, so far
        self._told = -TOLD_SECONDS
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
            asked = repeats.facts(session, [clip_id])
        return self._found(Surroundings(space.index.current(), Localities()), asked)

    def catch_up(self) -> None:
        """Look for the repeats of clips that were added or changed."""
        space, after = self._roles.spaces.active, 0
        with self._store.read() as session:
            self._doublings = max(self._doublings, repeats.span(session).bit_length())
        by = self._by(space)
        while not self._stopping.is_set() and self._up_to_date != by:
            with self._store.write() as session:
                if repeats.outdate(session, by, 10 * AT_ONCE) == 0:
                    self._up_to_date = by
        known, changed = Localities(), False
        try:
            while not self._stopping.is_set():
                with self._store.read() as session:
                    clip_ids = repeats.not_compared(session, after, AT_ONCE)
                if not clip_ids:
                    return
                around = Surroundings(space.index.current(), known, self._neighbours)
                compared = self._comparable(space, clip_ids)
                found = self._found(around, compared)
                with self._store.write() as session:
                    changed |= repeats.replace(session, by, compared.values(), found)
                if changed and time.monotonic() - self._told > TOLD_SECONDS:
                    self._tell()
                    changed = False
                after = clip_ids[-1]
        finally:
            if changed:
                self._tell()

    def _tell(self) -> None:
        self._groups.changed({KIND})
        self._told = time.monotonic()

    def _by(self, space: Space) -> int:
        """A number of what repeats are looked for by. Of more clips, more are near."""
        what = f"2 {space.model.digest} {self._window} {self._thresholds} {self._doublings}"
        return zlib.crc32(what.encode())

    def _comparable(self, space: Space, clip_ids: Sequence[int]) -> dict[int, Facts]:
        """Without those that the index is yet to be told of."""
        with self._store.read() as session:
            embedded = embeddings.get(session, space.model_row, clip_ids).keys()
            found = repeats.facts(session, clip_ids)
        return {
            clip_id: one
            for clip_id, one in found.items()
            if not one.indexable or clip_id in space.index or clip_id not in embedded
        }

    def _found(self, around: Surroundings, facts: dict[int, Facts]) -> list[FoundPair]:
        nearest = around.nearest(list(facts))
        with self._store.read() as session:
            of_customer = {
                clip_id: repeats.of_customer(session, facts[clip_id], self._window, EACH_WAY)
                for clip_id in nearest
            }
            voices = repeats.facts(session, {i for near in nearest.values() for i in near})
        asked = []
        for clip_id, near in nearest.items():
            one = facts[clip_id]
            # Of its customer none but those: a neighbour need not have the clip among its own.
            alike = [voices[i] for i in near if i in voices and _unknown(one, voices[i])]
            asked += self._asked(around, one, [*of_customer[clip_id].values(), *alike])
        locals_ = around.localities([its.one.clip_id for its in asked])
        uncertain = {
            other
            for its in asked
            for other in its.uncertain(locals_[its.one.clip_id], self._thresholds)
        }
        locals_ |= around.localities(sorted(uncertain))
        pairs = {pair[:2]: pair for its in asked for pair in self._pairs(its, locals_)}
        with self._store.read() as session:
            of = repeats.copies(session, {clip_id for pair in pairs for clip_id in pair})
        return [one for (low, high), one in pairs.items() if of[low].isdisjoint(of[high])]

    def _asked(self, around: Surroundings, one: Facts, others: Iterable[Facts]) -> list[_Asked]:
        """With those that agree in emotion; none or one."""
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
        return [_Asked(one, ids, similarities, agreements[kept], same)]

    def _pairs(self, asked: _Asked, locals_: dict[int, Floats]) -> list[FoundPair]:
        own = locals_[asked.one.clip_id]
        are = are_repeats(
            asked.similarities,
            asked.agreements,
            asked.same_customer,
            own,
            np.stack([locals_.get(other, own) for other in asked.others]),
            self._thresholds,
        )
        return [
            FoundPair(
                min(asked.one.clip_id, asked.others[place]),
                max(asked.one.clip_id, asked.others[place]),
                KIND,
                float(np.clip(asked.similarities[place], -1, 1)),
            )
            for place in np.flatnonzero(are).tolist()
        ]

    def _may_be(self, one: Facts, other: Facts) -> bool:
        return (
            other.scores is not None
            and (one.call_id is None or one.call_id != other.call_id)
            and abs(one.at - other.at) <= self._window
            and one.hashes.isdisjoint(other.hashes)
        )


def _unknown(one: Facts, other: Facts) -> bool:
    """Whether they may be of one customer for all that is known."""
    return None in (one.customer_id, other.customer_id)
