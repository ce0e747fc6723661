"""A graph that leads a query to its neighbours past most of the rows (HNSW)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, Vectors
from index.reducer import Reducer

LINKS: Final = 16  # to neighbours, of a row; twice as many on the ground level
BUILD_BEAM: Final = 100
MAX_BEAM: Final = 2048  # a wider one takes longer than looking at every row

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

    def extended(self, blocks: Iterable[Vectors]) -> Graph:
        """A copy with more rows; for a moment both are in memory."""
        graph = Graph(self.reducer, faiss.clone_index(self.faiss))
        graph.add(blocks)
        return graph

    def search(
        self, asked: Vectors, wanted: int, beam: int, passing: Bits | None
    ) -> tuple[Vectors, Ids]:
        """Scores (q, wanted), falling, and rows, -1 where there are no more, for reduced
        directions asked (q, d). It looks at about `beam` rows nearest to each, and gives those
        of them that pass."""
        selector = None if passing is None else selecting(passing)
        parameters = faiss.SearchParametersHNSW(efSearch=beam, sel=selector)
        scores, rows = self.faiss.search(asked, wanted, params=parameters)
        return scores, rows

    def scan(self, asked: Vectors, wanted: int, passing: Bits | None) -> tuple[Vectors, Ids]:
        """As `search`, looking at every row that passes."""
        selector = None if passing is None else selecting(passing)
        scores, rows = _codes(self.faiss).search(
            asked, wanted, params=faiss.SearchParameters(sel=selector)
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


def _codes(graph: faiss.IndexHNSWSQ) -> faiss.IndexScalarQuantizer:
    return faiss.downcast_index(graph.storage)


def selecting(bits: Bits) -> faiss.IDSelectorBitmap:
    """The rows whose bit is set."""
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    selector.held = bits  # it reads through a bare pointer
    return selector
