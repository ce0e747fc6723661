"""Approximate search for libraries that have outgrown a scan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import faiss
import numpy as np

from index.calibration import measured_graph
from index.candidates import FEW, Candidates, Moment, packed
from index.contract import Hits, Ids, Stored, Vectors
from index.cosine import (
    checked_ids,
    checked_mean,
    checked_new_ids,
    checked_vectors,
    directions,
)
from index.errors import AlreadyPresent
from index.graph import Beam, Bits, Graph
from index.row_files import RowFiles
from index.scan import exact_hits
from index.segments import (
    Mask,
    NewRows,
    Segments,
    added,
    live_ids,
    new_rows,
    passing,
    removed,
    row_of,
    rows_between,
    rows_of,
    rows_of_segment,
    stored_among,
)
from index.threads import omp_threads

OPEN: Final = 512  # new rows compared in full, before they are reduced together
TOGETHER: Final = 64  # queries; more at once take memory only
TAIL: Final = 16_384  # rows outside the graph from which it is worth extending


class GraphIndex:
    """Candidates from a graph, from a list of those added since, and from the newest in full; the
    best of them compared by their directions. Small filtered sets are searched exactly, and
    whenever the graph finds fewer than there are, every row is looked at.

    Searches never wait. Adding is cheap; `grow` makes the graph cover what was added, beside
    everything else. Rows are where `make` puts them; removed ones stay there until another index
    is built.
    """

    kind = "graph"

    def __init__(
        self,
        mean: Vectors,
        segments: Segments,
        graph: Graph,
        *,
        beam: Beam,
        room: int,
        make: NewRows = new_rows,
    ) -> None:
        """Of segments all of this `room`, the last one perhaps not full, and a graph over the
        first of their rows."""
        self.dimension = len(mean)
        self.mean = checked_mean(mean, self.dimension)
        self.beam = beam
        self._room = room
        self._make = make
        self._writing = threading.Lock()
        self._growing = threading.Lock()
        empty = graph.reducer.codes()
        self._moment = _closed(Moment(segments, graph, empty, _alive(segments, graph)), room, 0)

    @classmethod
    def build(
        cls,
        mean: Vectors,
        blocks: Iterable[tuple[Ids, Vectors]],
        *,
        make: NewRows = new_rows,
        segment_rows: int | None = None,
        linked: Callable[[int], None] = lambda _: None,
    ) -> GraphIndex:
        """Over blocks of ids (n,) and embeddings (n, D), checked as `add` does, one row at least.

        `linked` is called with the number of rows whenever the graph has got so many more.

        Raises:
            InvalidVectors, InvalidIds
        """
        mean = checked_mean(mean, len(mean))
        room = segment_rows or rows_of_segment(len(mean))
        segments: Segments = ()
        for ids, vectors in blocks:
            vectors = checked_vectors(vectors, len(mean))
            ids = checked_new_ids(ids, len(vectors))
            segments = added(segments, ids, vectors, mean, room, make)
        graph, beam = measured_graph(segments, room, linked)
        return cls(mean, segments, graph, beam=beam, room=room, make=make)

    @property
    def moment(self) -> Moment:
        """Rows and structures as they are now; they do not change."""
        return self._moment

    @property
    def room(self) -> int:
        """Rows of a full segment: row r is row r % room of segment r // room."""
        return self._room

    @property
    def segments(self) -> Segments:
        """Rows and ids at this moment."""
        return self._moment.segments

    @property
    def graph(self) -> Graph:
        return self._moment.graph

    @property
    def row_files(self) -> RowFiles:
        """Where its rows are."""
        assert isinstance(self._make, RowFiles)
        return self._make

    @property
    def removed(self) -> int:
        """Rows that were removed and still take room."""
        return sum(segment.count - segment.live_count for segment in self._moment.segments)

    @property
    def misplaced(self) -> int:
        """Rows that the structure counts otherwise than they are stored: searches may miss them,
        or return them although they were removed. 0 unless the index is damaged."""
        moment = self._moment
        counts = [segment.count for segment in moment.segments]
        full = next((at for at, one in enumerate(counts) if one != self._room), len(counts))
        numbered = sum(counts[: full + 1])  # a row's number tells its segment where all are full
        uncounted = sum(counts) - numbered + max(0, moment.closed - numbered)
        covered, alive = moment.graph.covered, _alive(moment.segments, moment.graph)
        differing = _mask(moment.alive, covered) != _mask(alive, covered)
        return uncounted + moment.graph.incomplete + int(differing.sum())

    @property
    def memory_bytes(self) -> int:
        moment = self._moment
        rows = sum(segment.memory_bytes for segment in moment.segments)
        codes = moment.reduced.ntotal * moment.reduced.code_size
        return rows + moment.graph.memory_bytes + int(codes)

    def __len__(self) -> int:
        return sum(segment.live_count for segment in self._moment.segments)

    def __contains__(self, id: object) -> bool:
        if not isinstance(id, int | np.integer) or not 1 <= id <= np.iinfo(np.int64).max:
            return False
        return len(stored_among(self._moment.segments, np.array([id], np.int64))) > 0

    def ids(self) -> Ids:
        return np.sort(live_ids(self._moment.segments))

    def directions_of(self, ids: Ids) -> tuple[Ids, Vectors]:
        return rows_of(self._moment.segments, checked_ids(ids), self.dimension)

    def direction_of(self, id: int) -> Vectors | None:
        return row_of(self._moment.segments, id)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        vectors = checked_vectors(vectors, self.dimension)
        ids = checked_new_ids(ids, len(vectors))
        with self._writing:
            moment = self._moment
            if len(present := stored_among(moment.segments, ids)):
                raise AlreadyPresent(present)
            segments = added(moment.segments, ids, vectors, self.mean, self._room, self._make)
            self._moment = _closed(replace(moment, segments=segments), self._room, OPEN)

    def remove(self, ids: Ids) -> int:
        ids = checked_ids(ids)
        with self._writing:
            before = len(self)
            segments = removed(self._moment.segments, ids)
            alive = _alive(segments, self._moment.graph)
            self._moment = replace(self._moment, segments=segments, alive=alive)
            return before - len(self)

    @property
    def wants_to_grow(self) -> bool:
        """Whether so many rows are outside the graph that `grow` pays."""
        return bool(self._moment.reduced.ntotal >= TAIL)

    def grow(self) -> None:
        """Extend the graph over the rows that were added; they can be found before and after."""
        with self._growing:
            before = self._moment
            start, stop = before.graph.covered, before.closed
            with omp_threads(max(1, faiss.omp_get_max_threads() // 2)):  # the others search
                graph = before.graph.extended(
                    rows_between(before.segments, self._room, start, stop)
                )
            with self._writing:
                now = self._moment
                segments, empty = now.segments, graph.reducer.codes()
                moment = Moment(segments, graph, empty, _alive(segments, graph))
                self._moment = _closed(moment, self._room, OPEN)

    def erase(self) -> None:
        """Let nothing remain of removed vectors, in memory or in files that are saved."""
        with self._growing:
            for at in range(len(self._moment.segments)):
                with self._writing:
                    self._erase_segment(at)

    def _erase_segment(self, at: int) -> None:
        moment = self._moment
        segment = moment.segments[at]
        gone = np.flatnonzero(segment.to_erase) + at * self._room
        if not len(gone):
            return
        fresh = segment.erased(self._make(self._room, self.dimension))
        segments = (*moment.segments[:at], fresh, *moment.segments[at + 1 :])
        alive = np.concatenate([one.live for one in segments])[: moment.graph.covered]
        moment.graph.erase(gone[gone < moment.graph.covered], alive)
        reduced = moment.reduced
        if gone.max() >= moment.graph.covered:
            reduced = moment.graph.reducer.codes()
            for rows in rows_between(segments, self._room, moment.graph.covered, moment.closed):
                reduced.add(moment.graph.reducer(rows))
        self._moment = replace(moment, segments=segments, reduced=reduced)

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
        moment = self._moment
        masks: list[Mask] | None = None
        eligible = sum(segment.live_count for segment in moment.segments)
        if allowed is not None or excluded is not None:
            masks = passing(moment.segments, allowed, excluded)
            eligible = sum(int(mask.sum()) for mask in masks)
        if exact or eligible <= max(FEW, k):
            return _exact_hits(moment, masks, asked, k)
        candidates = Candidates(moment, self._room, masks, k, self.beam)
        with omp_threads(1):
            parts = (asked[at : at + TOGETHER] for at in range(0, len(asked), TOGETHER))
            found = [hits for part in parts for hits in candidates.hits(part)]
        answers = {
            at: hits
            for at, hits in enumerate(found)
            if hits is not None and len(hits.ids) >= min(k, eligible)
        }
        if others := [at for at in range(len(asked)) if at not in answers]:
            exactly = _exact_hits(moment, masks, asked[others], k)
            answers.update(zip(others, exactly, strict=True))
        return [answers[at] for at in range(len(asked))]

    def stored(self) -> Stored:
        segments = self._moment.segments
        return Stored(live_ids(segments), (segment.live_rows() for segment in segments))


def _exact_hits(moment: Moment, masks: list[Mask] | None, asked: Vectors, k: int) -> list[Hits]:
    if masks is None:
        masks = [segment.live for segment in moment.segments]
    return exact_hits(moment.segments, masks, asked, k)


def _closed(moment: Moment, room: int, at_least: int) -> Moment:
    """With the open rows reduced, if there are `at_least` so many."""
    count = sum(segment.count for segment in moment.segments)
    closed = moment.closed
    if count - closed < max(at_least, 1):
        return moment
    codes = faiss.clone_index(moment.reduced)
    with omp_threads(1):
        for rows in rows_between(moment.segments, room, closed, count):
            codes.add(moment.graph.reducer(rows))
    return replace(moment, reduced=codes)


def _alive(segments: Segments, graph: Graph) -> Bits | None:
    """Which of the graph's rows are not removed; None for all."""
    covered, start = graph.covered, 0
    masks, removed = [], False
    for segment in segments:
        if start >= covered:
            break
        masks.append(segment.live[: covered - start])
        removed |= segment.live_count < segment.count
        start += segment.count
    return packed(np.concatenate(masks)) if removed else None


def _mask(bits: Bits | None, count: int) -> Mask:
    """(count,), as FAISS reads them; None is all."""
    if bits is None:
        return np.ones(count, np.bool_)
    return np.unpackbits(bits, count=count, bitorder="little").astype(np.bool_)
