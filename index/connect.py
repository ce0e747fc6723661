"""Paths to rows of a graph that its links do not lead to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from index.segments import Mask

BEAMS: Final = (32, 512)  # in which a row is looked for that has a link to give
FRONTIER: Final = 100_000  # rows whose links are followed together: 25 MB at 32 links


def connect(graph: faiss.IndexHNSW) -> tuple[int, int]:
    """Lead a path from the entry point, on the ground level, to every row it does not lead to.

    Where many rows are nearly equal each keeps links to few of the others, so that to some no link
    is left and no search finds them (see faiss's HNSW.shrink_neighbor_list). Each such row, with
    what it leads to, gets one from a row near it that has a place free.

    Returns:
        How many rows no path led to, and how many there still are: near these no place is free.
    """
    if not graph.ntotal:
        return 0, 0
    ground = _Ground(graph)
    reached = np.zeros(graph.ntotal, np.bool_)
    ground.follow(int(graph.hnsw.entry_point), reached)
    lost = np.flatnonzero(~reached)
    left = 0
    for row in lost.tolist():
        if reached[row]:
            continue
        for near in _near(graph, row):
            links = ground.links_of(near)
            if reached[near] and links[-1] < 0:
                links[np.argmax(links < 0)] = row
                ground.follow(row, reached)
                break
        else:
            left += 1
    return len(lost), left


def _near(graph: faiss.IndexHNSW, row: int) -> Iterator[int]:
    """Rows, nearest first, the row itself perhaps among them."""
    asked = graph.storage.reconstruct(row)[np.newaxis]
    for beam in BEAMS:
        parameters = faiss.SearchParametersHNSW(efSearch=beam)
        _, rows = graph.search(asked, beam, params=parameters)
        yield from (near for near in rows[0].tolist() if near >= 0)


class _Ground:
    """The links of the ground level, where they lie."""

    def __init__(self, graph: faiss.IndexHNSW) -> None:
        nodes = graph.hnsw
        self._links = faiss.rev_swig_ptr(nodes.neighbors.data(), nodes.neighbors.size())
        offsets = faiss.rev_swig_ptr(nodes.offsets.data(), nodes.offsets.size())
        self._offsets = offsets[:-1].astype(np.int64)
        self._width = nodes.nb_neighbors(0)

    def links_of(self, row: int) -> NDArray[np.int32]:
        """Rows that it leads to, then -1."""
        start = self._offsets[row]
        links: NDArray[np.int32] = self._links[start : start + self._width]
        return links

    def follow(self, row: int, reached: Mask) -> None:
        """Mark (n,) what this row leads to, itself included."""
        reached[row] = True
        frontier = np.array([row])
        while len(frontier):
            found = [frontier[:0]]
            for start in range(0, len(frontier), FRONTIER):
                some = frontier[start : start + FRONTIER]
                there = self._links[(self._offsets[some][:, None] + np.arange(self._width)).ravel()]
                there = there[there >= 0]
                there = np.unique(there[~reached[there]])
                reached[there] = True
                found.append(there)
            frontier = np.concatenate(found)
