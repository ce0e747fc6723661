"""Exact search: FAISS scans every row, float64 settles the order."""

import threading
from collections.abc import Iterable
from typing import NamedTuple, Self

import faiss
import numpy as np

from index.contract import Hits, Ids, Stored, Vectors
from index.cosine import (
    checked_ids,
    checked_mean,
    checked_new_ids,
    checked_vectors,
    directions,
    nearest,
    similarities,
)
from index.errors import AlreadyPresent
from index.segments import (
    SEGMENT_BYTES,
    Mask,
    Segment,
    Segments,
    added,
    is_sparse,
    live_ids,
    packed,
    passing,
)

_SPARE = 32  # candidates fetched beyond k, so that a tie at k seldom needs a second look


class FlatIndex:
    """Every row is compared with every query; one copy of the vectors; searches never wait.

    One query runs on the thread that asks, so throughput grows with the callers' threads;
    the queries of one call are shared among FAISS's OpenMP threads.
    """

    def __init__(
        self, dimension: int, mean: Vectors | None = None, *, segment_rows: int | None = None
    ) -> None:
        """An empty index; mean (D,), zeros when None; segment_rows is for tests."""
        self.dimension = dimension
        self.mean = checked_mean(mean, dimension)
        self._room = segment_rows or rows_of_segment(dimension)
        self._writing = threading.Lock()
        self._segments: Segments = ()  # replaced as a whole, never changed in place

    @classmethod
    def of_directions(cls, mean: Vectors, parts: Iterable[tuple[Ids, Vectors]]) -> Self:
        """Over ids (n,) and directions (n, D) as another index `stored` them; takes the arrays.

        They are trusted: unlike `add`, nothing about them is checked.
        """
        index = cls(len(mean), mean)
        index._segments = tuple(Segment.full(ids, rows) for ids, rows in parts if len(ids))
        return index

    @property
    def memory_bytes(self) -> int:
        return sum(segment.memory_bytes for segment in self._segments)

    def __len__(self) -> int:
        return sum(segment.live_count for segment in self._segments)

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, int | np.integer) or not 1 <= id <= np.iinfo(np.int64).max:
            return False
        wanted = np.array([id], np.int64)
        return any(bool(segment.having(wanted).any()) for segment in self._segments)

    def ids(self) -> Ids:
        return np.sort(live_ids(self._segments))

    def add(self, ids: Ids, vectors: Vectors) -> None:
        vectors = checked_vectors(vectors, self.dimension)
        ids = checked_new_ids(ids, len(vectors))
        with self._writing:
            present = [one.ids[one.having(ids)] for one in self._segments]
            if any(map(len, present)):
                raise AlreadyPresent(np.concatenate(present))
            self._segments = added(self._segments, ids, vectors, self.mean, self._room)

    def remove(self, ids: Ids) -> int:
        ids = checked_ids(ids)
        with self._writing:
            before = len(self)
            left = tuple(segment.without(ids) for segment in self._segments)
            self._segments = packed(left, self._room) if is_sparse(left) else left
            return before - len(self)

    def compact(self) -> None:
        """Let every removed vector leave memory now; `remove` does it once a quarter is dead."""
        with self._writing:
            self._segments = packed(self._segments, self._room, everything=True)

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
    ) -> list[Hits]:
        if k < 1:
            raise ValueError(f"k is {k}, wanted at least 1")
        asked = directions(checked_vectors(queries, self.dimension), self.mean)
        allowed = None if allowed is None else checked_ids(allowed)
        excluded = None if excluded is None else checked_ids(excluded)
        segments = self._segments
        scans = [
            _scan(segment, mask, asked, k + _SPARE)
            for segment, mask in zip(segments, passing(segments, allowed, excluded), strict=True)
            if mask.any()
        ]
        if not scans:
            nothing = Hits(np.empty(0, np.int64), np.empty(0))
            return [nothing for _ in asked]
        return [_settle(scans, one, position, k) for position, one in enumerate(asked)]

    def stored(self) -> Stored:
        segments = self._segments
        return Stored(live_ids(segments), (segment.live_rows() for segment in segments))


def rows_of_segment(dimension: int) -> int:
    """Rows that fill a segment."""
    return max(1, SEGMENT_BYTES // (4 * dimension))


class _Scan(NamedTuple):
    """Best candidates of one segment for each query, by FAISS's float32 inner product."""

    segment: Segment
    mask: Mask  # (count,), the rows that may be returned
    complete: bool  # every such row was fetched
    scores: Vectors  # (q, fetched), falling
    rows: Ids  # (q, fetched)


def _scan(segment: Segment, mask: Mask, asked: Vectors, wanted: int) -> _Scan:
    eligible = int(mask.sum())
    fetched = min(wanted, eligible)
    scores = np.empty((len(asked), fetched), np.float32)
    rows = np.empty((len(asked), fetched), np.int64)
    bits = np.packbits(mask, bitorder="little")
    # The kernel behind IndexFlatIP, on our own rows: an index object would move them to grow
    # or to remove. With a selector FAISS keeps one query on one thread and is never slower
    # than without. It reads through bare pointers: all arrays are held here until it returns.
    faiss.knn_inner_product(
        faiss.swig_ptr(asked),
        faiss.swig_ptr(segment.rows),
        segment.rows.shape[1],
        len(asked),
        segment.count,
        fetched,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(rows),
        faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)),
    )
    return _Scan(segment, mask, fetched == eligible, scores, rows)


def _settle(scans: list[_Scan], direction: Vectors, position: int, k: int) -> Hits:
    """Exact order among all rows whose float32 score leaves them a chance of the first k."""
    scores = np.concatenate([scan.scores[position] for scan in scans])
    last = max(0, len(scores) - k)
    floor = float(np.partition(scores, last)[last]) - _margin(len(direction))
    ids: list[Ids] = []
    rows: list[Vectors] = []
    for scan in scans:
        segment = scan.segment
        if scan.complete or scan.scores[position, -1] < floor:
            near = scan.rows[position, scan.scores[position] >= floor]
        else:  # as good as the k-th to the last one fetched: there may be more of them
            all_scores = segment.rows[: segment.count] @ direction
            near = np.flatnonzero(scan.mask & (all_scores >= floor))
        ids.append(segment.ids[near])
        rows.append(segment.rows[near])
    return nearest(np.concatenate(ids), similarities(direction, np.concatenate(rows)), k)


def _margin(dimension: int) -> float:
    """How far below the k-th best float32 score a row of the true first k can lie.

    A float32 inner product of D terms, in any order of summation, is within D u |a| |b| of the
    truth, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); lengths
    within 2 u of 1 add 4 u. The k-th and the row may err in opposite ways: twice that.
    """
    return 2.0 * (dimension + 8) * 2.0**-24
