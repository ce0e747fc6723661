"""A graph that leads a query to its neighbours past most of the rows (HNSW)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from index.connect import connect
from index.contract import Ids, Vectors
from index.reducer import Reducer
from index.threads import THREADS, side_by_side

LINKS: Final = 16  # to neighbours, of a row; twice as many on the ground level
BUILD_BEAM: Final = 100
MAX_BEAM: Final = 2048  # a wider one takes longer than looking at every row
ALONE: Final = 100_000  # rows that one thread looks at as soon as several would
SHARED: Final = 4  # queries: as many and more take all cores
NEIGHBOURS: Final = 10  # by the last of which it is told how far from the rows a query lies
WIDER: Final = 8  # power of the distance by which a beam widens, chosen by measurement
WORTH: Final = 2  # times as wide: less is not worth a second look

log = logging.getLogger(__name__)

Look = tuple[Vectors, Ids]  # scores (n,), falling, and rows (n,), -1 where there are no more
Bits = NDArray[np.uint8]  # (ceil(n / 8),), little-endian: which of n rows may be returned


class Graph:
    """Hierarchical navigable small world graph over the first `covered` rows of an index
    (Malkov and Yashunin, 2016), on reduced directions in bytes.

    Once it is searched it does not grow: `extended` gives another one. Searches are safe from
    any number of threads.
    """

    def __init__(self, reducer: Reducer, graph: faiss.IndexHNSWSQ) -> None:
        self.reducer = reducer
        self.faiss = graph

    @classmethod
    def build(cls, reducer: Reducer, blocks: Iterable[Vectors]) -> Graph:
        """Over blocks of directions (n, D), in the order of the rows."""
        graph = faiss.IndexHNSWSQ(
            reducer.dimension, faiss.ScalarQuantizer.QT_8bit, LINKS, faiss.METRIC_INNER_PRODUCT
        )
        graph.hnsw.efConstruction = BUILD_BEAM
        faiss.copy_array_to_vector(reducer.scales, _codes(graph).sq.trained)
        _codes(graph).is_trained = graph.is_trained = True
        made = cls(reducer, graph)
        made.add(blocks)
        return made

    @property
    def covered(self) -> int:
        return int(self.faiss.ntotal)

    @property
    def incomplete(self) -> int:
        """Rows that lack their place among the links or their bytes; 0 unless it is damaged."""
        held = (int(self.faiss.hnsw.levels.size()), int(_codes(self.faiss).ntotal))
        return sum(abs(self.covered - one) for one in held)

    @property
    def memory_bytes(self) -> int:
        a_row = self.reducer.dimension + 4 * (2 * LINKS + 1) + 12
        return self.covered * a_row + self.reducer.projection.nbytes

    def add(self, blocks: Iterable[Vectors]) -> None:
        """Put more rows behind its own, while nobody searches."""
        for block in blocks:
            self.faiss.add(self.reducer(block))
        lost, left = connect(self.faiss)
        if lost:
            log.info("No links led to %d of %d rows; now to all but %d.", lost, self.covered, left)

    def extended(self, blocks: Iterable[Vectors]) -> Graph:
        """A copy with more rows; for a moment both are in memory."""
        graph = Graph(self.reducer, faiss.clone_index(self.faiss))
        graph.add(blocks)
        return graph

    def search(self, asked: Vectors, beam: int) -> tuple[Vectors, Ids]:
        """Scores (q, beam), falling, and rows, -1 where there are no more, of the rows nearest to
        reduced directions asked (q, d), removed ones included."""
        parameters = faiss.SearchParametersHNSW(efSearch=beam)

        def found(some: Vectors) -> tuple[Vectors, Ids]:
            scores, rows = self.faiss.search(some, beam, params=parameters)
            return scores, rows

        if len(asked) < SHARED or THREADS == 1:
            return found(asked)
        parts = side_by_side(found, np.array_split(asked, min(THREADS, len(asked) // 2)))
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])

    def scan(self, asked: Vectors, wanted: int, passing: Bits | None) -> tuple[Vectors, Ids]:
        """As `search`, `wanted` of the rows that pass, looking at all of these."""
        if passing is None:
            passing = np.full(-(-self.covered // 8), 255, np.uint8)
        if self.covered < ALONE or THREADS == 1:
            return self._scan(asked, wanted, passing)
        step = -(-len(passing) // THREADS)
        parts = [np.zeros_like(passing) for _ in range(THREADS)]
        for at, part in enumerate(parts):
            part[at * step : (at + 1) * step] = passing[at * step : (at + 1) * step]
        found = side_by_side(lambda part: self._scan(asked, wanted, part), parts)
        scores = np.concatenate([scores for scores, _ in found], axis=1)
        rows = np.concatenate([rows for _, rows in found], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :wanted]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def _scan(self, asked: Vectors, wanted: int, passing: Bits) -> tuple[Vectors, Ids]:
        scores, rows = _codes(self.faiss).search(
            asked, wanted, params=faiss.SearchParameters(sel=selecting(passing))
        )
        return scores, rows

    def erase(self, rows: Ids, alive: NDArray[np.bool_]) -> None:
        """Overwrite what is kept of these rows, in place, with what is kept of a row near each
        that is `alive` (covered,): searches still find their way through them.

        A search under way may compare such a row wrongly, which it must not return anyway.
        """
        nodes = self.faiss.hnsw
        links = faiss.rev_swig_ptr(nodes.neighbors.data(), nodes.neighbors.size())
        offsets = faiss.rev_swig_ptr(nodes.offsets.data(), nodes.offsets.size())
        size = self.reducer.dimension
        held = faiss.rev_swig_ptr(_codes(self.faiss).codes.data(), self.covered * size)
        held = held.reshape(-1, size)
        for row in rows.tolist():
            near = links[offsets[row] : offsets[row] + 2 * LINKS]
            near = near[near >= 0]
            near = near[alive[near]]
            held[row] = held[near[0]] if len(near) else 0


@dataclass(frozen=True, slots=True)
class Beam:
    """How many of the rows nearest to a query the graph looks at, to miss next to nothing.

    A graph is linked for the likes of its rows. It misses more of the neighbours of what lies
    farther from all of them, as the mean of several clips does: for that it looks at more.
    """

    width: int
    usual: float = 0.0  # of the nearness of queries; 0 where it is not known, as of old snapshots

    def search(
        self, graph: Graph, asked: Vectors, wanted: int, share: float = 1.0
    ) -> list[Look | None]:
        """As the graph, for each query (q, d) scores (n,) and rows (n,), enough that about `wanted`
        are of the `share` of them that pass; None where looking at every row is faster, or the
        links lead to too few."""
        width = max(self.width, wanted) / max(share, 1e-9)
        if width > MAX_BEAM:
            return [None] * len(asked)
        scores, rows = graph.search(asked, math.ceil(width))
        enough = rows[:, -1] >= 0 if rows.shape[1] < graph.covered else np.ones(len(rows), np.bool_)
        looks = zip(scores, rows, strict=True)
        found = [one if told else None for one, told in zip(looks, enough, strict=True)]
        if self.usual:
            for at, near in enumerate(nearness(asked, scores).tolist()):
                times = (self.usual / near) ** WIDER if near > 0 else math.inf
                if times >= WORTH and found[at] is not None:
                    wider = Beam(math.ceil(min(times, 1e9) * width))
                    [found[at]] = wider.search(graph, asked[at : at + 1], wanted)
        return found


def nearness(asked: Vectors, scores: Vectors) -> Vectors:
    """(q,) cosines of reduced directions (q, d) and the last of the NEIGHBOURS nearest rows, by
    their scores (q, n), falling; less than nothing where there are not so many."""
    near = np.full(len(asked), -1.0, np.float32)
    if scores.shape[1] >= NEIGHBOURS:
        lengths = np.sqrt(np.vecdot(asked, asked))
        last = np.maximum(scores[:, NEIGHBOURS - 1], -1.0)  # FAISS marks empty places by its lowest
        np.divide(last, lengths, out=near, where=lengths > 1e-6)
    return near


def _codes(graph: faiss.IndexHNSWSQ) -> faiss.IndexScalarQuantizer:
    return faiss.downcast_index(graph.storage)


def selecting(bits: Bits) -> faiss.IDSelectorBitmap:
    """The rows whose bit is set."""
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    selector.held = bits  # it reads through a bare pointer
    return selector
