"""What a graph index takes into consideration for one query, and what it answers from that."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np

from index.contract import Hits, Ids, Vectors
from index.cosine import nearest, similarities
from index.graph import MAX_BEAM, Bits, Graph, selecting
from index.segments import Mask, Segments

FEW: Final = 4096  # rows that pass a filter: up to so many are searched exactly
SPARE: Final = 32  # candidates re-ranked beyond k


@dataclass(frozen=True, slots=True)
class Moment:
    """Rows are numbered through all segments: first those of the graph, then those that are
    reduced only, then those compared in full."""

    segments: Segments
    graph: Graph
    reduced: faiss.IndexScalarQuantizer
    alive: Bits | None  # of the graph's rows; None while none of them is removed

    @property
    def closed(self) -> int:
        """Rows before the first that is compared in full."""
        return self.graph.covered + int(self.reduced.ntotal)


class Candidates:
    """Finds and re-ranks the candidates of one call."""

    def __init__(
        self, moment: Moment, room: int, masks: list[Mask] | None, k: int, beam: int
    ) -> None:
        """`masks` say which rows (count,) of each segment pass a filter; None for all that live."""
        self._moment = moment
        self._room = room
        self._k = k
        self._wanted = k + SPARE
        covered, closed = moment.graph.covered, moment.closed
        self._open = spans(moment.segments, masks, room, closed)
        self._reduced_bits: Bits | None = None  # all of them
        tail = [mask for _, _, mask in spans(moment.segments, masks, room, covered)]
        if not all(mask.all() for mask in tail):
            self._reduced_bits = packed(np.concatenate(tail)[: closed - covered])
        if masks is None:
            self._graph_bits = moment.alive
            share = 1.0 if moment.alive is None else _share(moment.alive, covered)
        else:
            self._graph_bits = packed(np.concatenate(masks)[:covered])
            share = _share(self._graph_bits, covered)
        self._few_pass = share * covered <= FEW
        # The rows nearest to the query that the graph looks at must hold as many that pass.
        self._beam = math.ceil(max(beam, 1.5 * self._wanted) / max(share, 1e-9))

    def hits(self, asked: Vectors, reduced: Vectors) -> Hits:
        """The k nearest to one direction (1, D), reduced (1, d)."""
        parts = [self._of_graph(reduced), self._of_reduced(reduced), *self._of_open(asked)]
        scores = np.concatenate([scores for scores, _ in parts])
        rows = np.concatenate([rows for _, rows in parts])
        if len(rows) > self._wanted:
            rows = rows[np.argpartition(-scores, self._wanted - 1)[: self._wanted]]
        return ranked(self._moment.segments, self._room, asked[0], rows, self._k)

    def _of_graph(self, reduced: Vectors) -> tuple[Vectors, Ids]:
        graph = self._moment.graph
        if self._beam <= MAX_BEAM and not self._few_pass:
            scores, rows = graph.search(reduced, self._wanted, self._beam, self._graph_bits)
            if (rows >= 0).all():
                return scores[0], rows[0]
        scores, rows = graph.scan(reduced, self._wanted, self._graph_bits)
        return _there(scores, rows)

    def _of_reduced(self, reduced: Vectors) -> tuple[Vectors, Ids]:
        codes = self._moment.reduced
        if not codes.ntotal:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        selector = None if self._reduced_bits is None else selecting(self._reduced_bits)
        scores, rows = codes.search(
            reduced, self._wanted, params=faiss.SearchParameters(sel=selector)
        )
        scores, rows = _there(scores, rows)
        return scores, rows + self._moment.graph.covered

    def _of_open(self, asked: Vectors) -> list[tuple[Vectors, Ids]]:
        # As few rows as these are compared without letting another thread have the interpreter.
        return [
            (np.vecdot(rows, asked[0])[mask], np.flatnonzero(mask) + first)
            for first, rows, mask in self._open
        ]


@contextlib.contextmanager
def omp_threads(count: int) -> Iterator[None]:
    """FAISS takes as many threads of OpenMP's for what this one asks for. With 1, a search never
    waits for another thread, for which one query has no use, where the cores are busy."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def ranked(segments: Segments, room: int, asked: Vectors, rows: Ids, k: int) -> Hits:
    """The k nearest of these rows (n,), none twice, to one direction (D,), by their similarity."""
    if not len(rows):
        return Hits(np.empty(0, np.int64), np.empty(0))
    places = [divmod(row, room) for row in rows.tolist()]
    ids = np.array([segments[at].row_ids[row] for at, row in places], np.int64)
    vectors = gathered([segments[at].rows[row] for at, row in places])
    return nearest(ids, similarities(asked, vectors), k)


def gathered(rows: Sequence[Vectors]) -> Vectors:
    """(n, D) of n rows (D,), read-only.

    NumPy's ways let other threads have the interpreter at each row; beside one that computes in
    Python a search then takes three times as long.
    """
    joined = b"".join(row.data for row in rows)
    return np.frombuffer(joined, rows[0].dtype).reshape(len(rows), -1)


def spans(
    segments: Segments, masks: list[Mask] | None, room: int, start: int
) -> list[tuple[int, Vectors, Mask]]:
    """Number of the first row, rows and mask of each segment's part from row `start` on."""
    found = []
    for at in range(start // room, len(segments)):
        segment, begin = segments[at], max(start - at * room, 0)
        if begin < segment.count:
            mask = segment.live if masks is None else masks[at]
            rows = segment.rows[begin : segment.count]
            found.append((at * room + begin, rows, mask[begin:]))
    return found


def _share(bits: Bits, count: int) -> float:
    """Of `count` rows, those whose bit is set."""
    return int(np.bitwise_count(bits).sum()) / max(count, 1)


def packed(mask: Mask) -> Bits:
    """As FAISS reads it."""
    return np.packbits(mask, bitorder="little")


def _there(scores: Vectors, rows: Ids) -> tuple[Vectors, Ids]:
    """The first query's, without the places that stayed empty."""
    there = rows[0] >= 0
    return scores[0][there], rows[0][there]
