"""Exact search over every row."""

import threading
from collections.abc import Iterable
from typing import Self

import numpy as np

from index.contract import Hits, Ids, Stored, Vectors
from index.cosine import (
    checked_ids,
    checked_mean,
    checked_new_ids,
    checked_vectors,
    directions,
)
from index.errors import AlreadyPresent
from index.scan import exact_hits
from index.segments import (
    Segment,
    Segments,
    added,
    is_sparse,
    live_ids,
    packed,
    passing,
    removed,
    row_of,
    rows_of,
    rows_of_segment,
    stored_among,
)


class FlatIndex:
    """Every row is compared with every query; one copy of the vectors; searches never wait.

    One query runs on the thread that asks, so throughput grows with the callers' threads;
    the queries of one call are shared among FAISS's OpenMP threads.
    """

    kind = "flat"

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
        return len(stored_among(self._segments, np.array([id], np.int64))) > 0

    def ids(self) -> Ids:
        return np.sort(live_ids(self._segments))

    def directions_of(self, ids: Ids) -> tuple[Ids, Vectors]:
        return rows_of(self._segments, checked_ids(ids), self.dimension)

    def direction_of(self, id: int) -> Vectors | None:
        return row_of(self._segments, id)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        vectors = checked_vectors(vectors, self.dimension)
        ids = checked_new_ids(ids, len(vectors))
        with self._writing:
            if len(present := stored_among(self._segments, ids)):
                raise AlreadyPresent(present)
            self._segments = added(self._segments, ids, vectors, self.mean, self._room)

    def remove(self, ids: Ids) -> int:
        ids = checked_ids(ids)
        with self._writing:
            before = len(self)
            left = removed(self._segments, ids)
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
        exact: bool = False,
    ) -> list[Hits]:
        asked = directions(checked_vectors(queries, self.dimension), self.mean)
        return self.search_directions(asked, k, allowed=allowed, excluded=excluded, exact=exact)

    def search_directions(
        self,
        asked: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
        exact: bool = False,
    ) -> list[Hits]:
        asked = checked_vectors(asked, self.dimension)
        if k < 1:
            raise ValueError(f"k is {k}, wanted at least 1")
        allowed = None if allowed is None else checked_ids(allowed)
        excluded = None if excluded is None else checked_ids(excluded)
        segments = self._segments
        return exact_hits(segments, passing(segments, allowed, excluded), asked, k)

    def stored(self) -> Stored:
        segments = self._segments
        return Stored(live_ids(segments), (segment.live_rows() for segment in segments))
