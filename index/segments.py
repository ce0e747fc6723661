"""Rows of a flat index, in pieces that are added to at the end and otherwise never change.

A tuple of segments is one moment of an index. A writer makes the next tuple, sharing the
rows, while readers go on with theirs: no search waits for a writer, and none sees half of one.
Only the newest tuple may be written from, by one writer at a time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, Vectors
from index.cosine import blocks, directions

Mask = NDArray[np.bool_]

SEGMENT_BYTES = 32 << 20  # of rows in a full segment; scan speed is flat from 4 to 64 MiB
FEW = 12  # ids that are looked for faster one by one
SPREAD = 8  # ids that lie within so many times their number are looked up in a table
_LOOSE = 0.75  # a segment with fewer live rows than this share of its room is packed anew


def rows_of_segment(dimension: int) -> int:
    """Rows that fill a segment."""
    return max(1, SEGMENT_BYTES // (4 * dimension))


NewRows = Callable[[int, int], Vectors]


def new_rows(room: int, dimension: int) -> Vectors:
    """Memory (room, dimension), taken as it is written."""
    return np.empty((room, dimension), np.float32)


@dataclass(frozen=True, slots=True)
class Segment:
    """The first `count` rows are written; those not `live` are removed and still lie there."""

    row_ids: Ids  # (room,)
    rows: Vectors  # (room, D), centred unit vectors
    written_live: Mask  # (room,)
    count: int
    live_count: int
    lowest: int  # of the written ids; ids mostly rise, so this spares most segments a look
    highest: int

    @classmethod
    def empty(cls, rows: Vectors) -> Self:
        """None written yet, in this memory (room, D)."""
        room = len(rows)
        return cls(
            row_ids=np.empty(room, np.int64),
            rows=rows,
            written_live=np.empty(room, np.bool_),
            count=0,
            live_count=0,
            lowest=np.iinfo(np.int64).max,
            highest=0,
        )

    @classmethod
    def full(cls, ids: Ids, rows: Vectors) -> Self:
        """These rows, at least one, not copied, and no room for more."""
        return cls(
            row_ids=ids,
            rows=rows,
            written_live=np.ones(len(ids), np.bool_),
            count=len(ids),
            live_count=len(ids),
            lowest=int(ids.min()),
            highest=int(ids.max()),
        )

    @classmethod
    def of_rows(cls, rows: Vectors, ids: Ids) -> Self:
        """The first rows of this memory (room, D) are of these ids; 0 is a row that was removed."""
        segment = cls.empty(rows)
        segment.row_ids[: len(ids)] = ids
        segment.written_live[: len(ids)] = ids > 0
        return replace(
            segment,
            count=len(ids),
            live_count=int((ids > 0).sum()),
            lowest=int(ids.min()),
            highest=int(ids.max()),
        )

    @property
    def ids(self) -> Ids:
        return self.row_ids[: self.count]

    @property
    def live(self) -> Mask:
        return self.written_live[: self.count]

    @property
    def room(self) -> int:
        return len(self.row_ids)

    @property
    def memory_bytes(self) -> int:
        dimension: int = self.rows.shape[1]
        return self.count * (4 * dimension + 8 + 1)

    def extended(self, ids: Ids, rows: Vectors) -> Self:
        """With these rows, at least one, after its own; they must fit."""
        end = self.count + len(ids)
        self.row_ids[self.count : end] = ids
        self.rows[self.count : end] = rows
        self.written_live[self.count : end] = True
        return replace(
            self,
            count=end,
            live_count=self.live_count + len(ids),
            lowest=min(self.lowest, int(ids.min())),
            highest=max(self.highest, int(ids.max())),
        )

    def without(self, gone: Mask) -> Self:
        """With these live rows (count,) removed."""
        live = np.empty_like(self.written_live)
        live[: self.count] = self.live & ~gone
        return replace(self, written_live=live, live_count=self.live_count - int(gone.sum()))

    def erased(self, rows: Vectors) -> Self:
        """With its rows copied to this memory (room, D), but zeros for those removed."""
        rows[: self.count] = self.rows[: self.count]
        rows[: self.count][~self.live] = 0.0
        ids = np.where(self.written_live, self.row_ids, 0)
        return replace(self, rows=rows, row_ids=ids)

    @property
    def to_erase(self) -> Mask:
        """(count,), the rows that were removed and still lie there."""
        gone: Mask = ~self.live & (self.ids != 0)
        return gone

    def row_of(self, id: int) -> int | None:
        """The live row of this id, if it has one."""
        row = bisect_left(self.ids, id)  # where ids rise, as they mostly do
        if row < self.count and self.row_ids[row] == id and self.written_live[row]:
            return row
        rows = np.flatnonzero(self.live & (self.ids == id))
        return int(rows[0]) if len(rows) else None

    def live_rows(self) -> Vectors:
        """(live_count, D), a view where nothing was removed."""
        if self.live_count == self.count:
            return self.rows[: self.count]
        return self.rows[: self.count][self.live]


Segments = tuple[Segment, ...]


def places_of(segments: Segments, ids: Ids) -> Iterator[tuple[int, Mask]]:
    """Segments that have live rows of these ids, by number, and which rows (count,)."""
    ids = np.sort(ids)
    ordered = ids.tolist()  # a list is faster to bisect, once for each segment
    for at, segment in enumerate(segments):
        start, stop = bisect_left(ordered, segment.lowest), bisect_right(ordered, segment.highest)
        if start < stop:
            mask = segment.live & _is_one_of(segment.ids, ids[start:stop])
            if mask.any():
                yield at, mask


def _is_one_of(ids: Ids, some: Ids) -> Mask:
    """Which of ids (n,) are among `some`."""
    if len(some) <= FEW:
        mask = np.zeros(len(ids), np.bool_)
        for one in some:
            mask |= ids == one
        return mask
    low, high = int(some.min()), int(some.max())
    if high - low > SPREAD * (len(ids) + len(some)):
        return np.isin(ids, some)
    # A table, as np.isin has one, in a third of its time.
    table = np.zeros(high - low + 1, np.bool_)
    table[some - low] = True
    found: Mask = table.take(ids - low, mode="clip") & (ids >= low) & (ids <= high)
    return found


def stored_among(segments: Segments, ids: Ids) -> Ids:
    """Those of these ids that live rows have."""
    found = [segments[at].ids[mask] for at, mask in places_of(segments, ids)]
    return np.concatenate([np.empty(0, np.int64), *found])


def rows_of(segments: Segments, ids: Ids, dimension: int) -> tuple[Ids, Vectors]:
    """Those of these ids that live rows have, ascending (m,), and the rows (m, dimension)."""
    found = [np.empty(0, np.int64)]
    rows = [np.empty((0, dimension), np.float32)]
    for at, mask in places_of(segments, ids):
        places = np.flatnonzero(mask)
        found.append(segments[at].ids[places])
        rows.append(segments[at].rows[places])
    joined = np.concatenate(found)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(rows)[order]


def row_of(segments: Segments, id: int) -> Vectors | None:
    """The live row (D,) of this id, found without letting another thread have the interpreter."""
    for segment in segments:
        if segment.lowest <= id <= segment.highest and (row := segment.row_of(id)) is not None:
            found: Vectors = segment.rows[row]
            return found
    return None


def removed(segments: Segments, ids: Ids) -> Segments:
    """With these ids no longer live."""
    left = list(segments)
    for at, gone in places_of(segments, ids):
        left[at] = left[at].without(gone)
    return tuple(left)


def appended(
    segments: Segments, ids: Ids, rows: Vectors, room: int, make: NewRows = new_rows
) -> Segments:
    """With these rows at the end; new segments have `room`, in memory that `make` gives."""
    result = list(segments)
    start = 0
    while start < len(ids):
        if not result or result[-1].count == result[-1].room:
            result.append(Segment.empty(make(room, rows.shape[1])))
        end = start + result[-1].room - result[-1].count
        result[-1] = result[-1].extended(ids[start:end], rows[start:end])
        start = end
    return tuple(result)


def added(
    segments: Segments,
    ids: Ids,
    vectors: Vectors,
    mean: Vectors,
    room: int,
    make: NewRows = new_rows,
) -> Segments:
    """With these embeddings at the end, block by block to need no second copy of them all."""
    for block in blocks(*vectors.shape):
        rows = directions(vectors[block], mean)
        segments = appended(segments, ids[block], rows, room, make)
    return segments


def packed(segments: Segments, room: int, *, everything: bool = False) -> Segments:
    """With sparse segments poured into fresh ones, so that removed rows leave memory.

    `everything`: every removed row leaves, not only those of sparse segments.
    """
    kept: list[Segment] = []
    poured: Segments = ()
    for segment in segments:
        dead = segment.live_count < segment.count
        if segment.live_count < _LOOSE * segment.room or (everything and dead):
            poured = appended(poured, segment.ids[segment.live], segment.live_rows(), room)
        else:
            kept.append(segment)
    return (*kept, *poured)


def is_sparse(segments: Segments) -> bool:
    """Whether a segment has lost so many of its rows that packing pays."""
    return any(segment.live_count < _LOOSE * segment.count for segment in segments)


def live_ids(segments: Segments) -> Ids:
    """(n,), in the order of the rows."""
    return np.concatenate([np.empty(0, np.int64), *(one.ids[one.live] for one in segments)])


def passing(segments: Segments, allowed: Ids | None, excluded: Ids | None) -> list[Mask]:
    """For each segment, which of its written rows a search may return."""
    if allowed is None and excluded is None:
        return [segment.live for segment in segments]
    # One pass over all ids: `allowed` is prepared anew each time, and that may be long.
    ids = np.concatenate([np.empty(0, np.int64), *(segment.ids for segment in segments)])
    mask = np.ones(len(ids), np.bool_)
    if allowed is not None:
        mask &= _is_one_of(ids, allowed)
    if excluded is not None:
        mask &= ~_is_one_of(ids, excluded)
    return [segment.live & part for segment, part in _split(segments, mask)]


def _split(segments: Segments, mask: Mask) -> Iterator[tuple[Segment, Mask]]:
    start = 0
    for segment in segments:
        yield segment, mask[start : start + segment.count]
        start += segment.count


def rows_between(segments: Segments, room: int, start: int, stop: int) -> Iterator[Vectors]:
    """Those numbered from `start` to before `stop`, in blocks."""
    for at in range(start // room, len(segments)):
        rows = segments[at].rows[max(start - at * room, 0) : max(stop - at * room, 0)]
        if len(rows):
            yield rows
