"""The filterable fields of clips as NumPy columns, a slot for each clip.

`Columns` is one moment. A writer makes the next one, sharing the arrays: slots are added behind
those that the earlier moments count, and which slots live is copied when one dies. So a reader
never waits and never sees half a change. Only the newest moment may be written from, by one
writer at a time.

Texts are kept as Python's `hash` of them: 64 bits of SipHash under a key that is drawn when the
process starts, so that nobody can aim at a collision. That a million clips hold a text which
hashes like the one asked for, and is another, has a chance of 1 in 10^13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from app.domain import LABELS, ClipFilter
from app.store.filterable import Filterable, microseconds
from app.store.filters import metadata_digest

Ids = NDArray[np.int64]
Hashes = NDArray[np.int64]
Mask = NDArray[np.bool_]

LEAST_ROOM = 1024  # slots
GROWTH = 1.5  # so that a column is copied seldom; pages that are not written take no memory
LOOSE = 0.75  # columns with fewer live slots than this share are packed
TABLE_BITS = 16
EMOTION_CODES: dict[str | None, int] = {label: code for code, label in enumerate(LABELS)}
EMOTION_CODES[None] = len(LABELS)  # an imported clip may have none


class Fixed(NamedTuple):
    """The fields with one value a clip; every array is (n,) or has room for more."""

    ids: Ids
    emotions: NDArray[np.uint8]  # place in LABELS
    confidences: NDArray[np.float64]  # as wide as the database's; NaN where there is none
    instants: NDArray[np.int64]  # microseconds since 1970 UTC
    customers: Hashes
    calls: Hashes
    agents: Hashes
    files: Hashes

    @classmethod
    def of(cls, clips: Filterable) -> Self:
        return cls(
            np.array(clips.ids, np.int64),
            emotion_codes(clips.emotions),
            np.array(clips.confidences, np.float64),
            clips.instants,
            hashes(clips.customers),
            hashes(clips.calls),
            hashes(clips.agents),
            hashes(clips.files),
        )

    @classmethod
    def empty(cls) -> Self:
        return cls.of(Filterable((), (), (), np.empty(0, np.int64), (), (), (), ()))

    def extended(self, clips: Self, count: int) -> Self:
        """With these clips behind the first `count`."""
        columns: Iterable[tuple[NDArray[Any], NDArray[Any]]] = zip(self, clips, strict=True)
        return type(self)._make(_append(column, more, count) for column, more in columns)

    def of_slots(self, slots: slice | NDArray[np.intp]) -> Self:
        return type(self)._make(column[slots] for column in self)


def emotion_codes(emotions: Sequence[str | None]) -> NDArray[np.uint8]:
    """(n,) places in LABELS."""
    return np.fromiter(map(EMOTION_CODES.__getitem__, emotions), np.uint8, len(emotions))


def hashes(texts: Sequence[str | bytes | None]) -> Hashes:
    """(n,) what stands for the texts."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


@dataclass(frozen=True, slots=True)
class Columns:
    """The first `count` slots are written; those not `live` were deleted or replaced.

    Tags and metadata are pairs of a label's hash and its clip's slot; a tag's hash and a
    metadata digest's are told apart by nothing, nor need they be: 16 bytes that are the digest
    of something and are somebody's tag too cannot be found.
    """

    fixed: Fixed
    live: Mask
    count: int
    live_count: int
    highest: int  # id written so far
    labels: Hashes
    label_slots: NDArray[np.int32]
    label_count: int

    @classmethod
    def empty(cls) -> Self:
        nothing = np.empty(0, np.int64)
        return cls(Fixed.empty(), np.empty(0, np.bool_), 0, 0, 0, nothing, np.empty(0, np.int32), 0)

    def extended(self, clips: Fixed) -> Self:
        """With these clips behind its own. None of them may have a live slot."""
        added = len(clips.ids)
        if not added:
            return self
        return replace(
            self,
            fixed=self.fixed.extended(clips, self.count),
            live=_append(self.live, np.ones(added, np.bool_), self.count),
            count=self.count + added,
            live_count=self.live_count + added,
            highest=max(self.highest, int(clips.ids.max())),
        )

    def labelled(self, labels: Hashes, slots: NDArray[Any]) -> Self:
        """With labels (n,) of the clips in these slots (n,)."""
        return replace(
            self,
            labels=_append(self.labels, labels, self.label_count),
            label_slots=_append(self.label_slots, slots, self.label_count),
            label_count=self.label_count + len(labels),
        )

    def without(self, ids: Ids) -> Self:
        """With the slots of these clips dead; ids that it lacks are ignored."""
        gone = self.slots_of(ids)
        if not len(gone):
            return self
        live = np.empty_like(self.live)
        live[: self.count] = self.live[: self.count]
        live[gone] = False
        return replace(self, live=live, live_count=self.live_count - len(gone))

    def rescored(
        self, ids: Ids, emotions: NDArray[np.uint8], confidences: NDArray[np.float64]
    ) -> Self:
        """With these scores of the clips `ids`, ascending; all arrays are (n,). Clips that it
        lacks are ignored, and those that are not named keep theirs."""
        slots = np.flatnonzero(self.live[: self.count])
        slots = slots[np.isin(self.fixed.ids[slots], ids)]
        places = np.searchsorted(ids, self.fixed.ids[slots])
        # Copies: earlier moments keep theirs.
        fixed = self.fixed._replace(
            emotions=self.fixed.emotions.copy(), confidences=self.fixed.confidences.copy()
        )
        fixed.emotions[slots] = emotions[places]
        fixed.confidences[slots] = confidences[places]
        return replace(self, fixed=fixed)

    def slots_of(self, ids: Ids) -> NDArray[np.intp]:
        """The live slots of those of the clips that it has."""
        ids = ids[ids <= self.highest]
        if not len(ids):  # new ones, as a rule
            return np.empty(0, np.intp)
        written = self.fixed.ids[: self.count]
        having = written == ids[0] if len(ids) == 1 else np.isin(written, ids)
        return np.flatnonzero(having & self.live[: self.count])

    def is_loose(self) -> bool:
        return self.live_count < LOOSE * self.count

    def packed(self) -> Self:
        """With the live slots only, by rising id."""
        slots = np.flatnonzero(self.live[: self.count])
        slots = slots[np.argsort(self.fixed.ids[slots], kind="stable")]
        place = np.full(self.count, -1, np.int32)
        place[slots] = np.arange(len(slots), dtype=np.int32)
        places = place[self.label_slots[: self.label_count]]
        kept = places >= 0
        packed = type(self).empty().extended(self.fixed.of_slots(slots))
        return packed.labelled(self.labels[: self.label_count][kept], places[kept])

    def ids(self) -> Ids:
        """The clips that it has, ascending."""
        return self._ids(self.live[: self.count])

    def matching(self, wanted: ClipFilter, other_than: Collection[str] = ()) -> Ids:
        """The clips that match, ascending; but those of the customers `other_than`."""
        mask = self.live[: self.count].copy()
        for condition in self._conditions(wanted):
            mask &= condition
        if other_than:
            mask &= ~_among(self.fixed.customers[: self.count], hashes(list(other_than)))
        return self._ids(mask)

    def _conditions(self, wanted: ClipFilter) -> Iterable[Mask]:
        """The same as store.filters.conditions, each (count,)."""
        columns = self.fixed.of_slots(slice(self.count))
        if wanted.emotions:
            asked = np.zeros(len(EMOTION_CODES), np.bool_)
            asked[[EMOTION_CODES[one] for one in wanted.emotions if one in EMOTION_CODES]] = True
            yield asked[columns.emotions]
        if wanted.min_confidence is not None:
            yield columns.confidences >= wanted.min_confidence
        for column, text in (
            (columns.customers, wanted.customer_id),
            (columns.calls, wanted.call_id),
            (columns.agents, wanted.agent_id),
            (columns.files, wanted.file_sha256),
        ):
            if text is not None:
                yield column == hash(text)
        if wanted.since is not None:
            yield columns.instants >= microseconds(wanted.since)
        if wanted.until is not None:
            yield columns.instants < microseconds(wanted.until)
        for label in (*wanted.tags, *(metadata_digest(*pair) for pair in wanted.metadata)):
            yield self._labelled_with(hash(label))

    def _labelled_with(self, label: int) -> Mask:
        mask = np.zeros(self.count, np.bool_)
        places = np.flatnonzero(self.labels[: self.label_count] == label)
        mask[self.label_slots.take(places)] = True
        return mask

    def _ids(self, mask: Mask) -> Ids:
        # A mask that half of the slots pass takes six times as long as the places that it has.
        # Nearly in order, as clips arrive: what this kind of sorting is fastest at.
        return np.sort(self.fixed.ids.take(np.flatnonzero(mask)), kind="stable")


def _append(column: NDArray[Any], more: NDArray[Any], count: int) -> NDArray[Any]:
    """The column with `more` behind its first `count`, in place where there is room."""
    end = count + len(more)
    if end > len(column):
        grown = np.empty(max(end, int(GROWTH * len(column)), LEAST_ROOM), column.dtype)
        grown[:count] = column[:count]
        column = grown
    column[count:end] = more
    return column


def _among(column: Hashes, some: Hashes) -> Mask:
    """Which of the column are among `some`.

    np.isin sorts the column. Here a table of the lowest bits sorts out nearly all of it first.
    """
    lowest = 2**TABLE_BITS - 1
    table = np.zeros(2**TABLE_BITS, np.bool_)
    table[some & lowest] = True
    mask: Mask = table[column & lowest]
    mask[mask] = np.isin(column[mask], some)
    return mask
