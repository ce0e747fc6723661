"""How wide a graph must look to miss next to nothing, measured on the library itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from index.contract import Vectors
from index.graph import Graph
from index.reducer import SAMPLE, Reducer
from index.segments import Segments, rows_between

BEAMS: Final = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024)
QUERIES: Final = 256  # rows to measure with
NEIGHBOURS: Final = 10
SPARE: Final = 32  # candidates beyond them, as a search re-ranks
RECALL: Final = 0.995  # wanted, so that 0.99 holds whichever rows are asked for

log = logging.getLogger(__name__)


def measured_graph(
    segments: Segments, room: int, linked: Callable[[int], None]
) -> tuple[Graph, int]:
    """A graph over all rows of the segments, removed ones included, and the narrowest beam with
    which it finds the neighbours that a scan in full finds, or the widest.

    Measured with rows that it does not have yet: those that it has are found more easily.
    `linked` is called as GraphIndex.build says.
    """
    count = sum(segment.count for segment in segments)
    step = max(1, count // SAMPLE)
    sample = np.concatenate([segment.rows[: segment.count : step] for segment in segments])
    last = max(1, count - max(QUERIES, count // 50))
    graph = Graph.build(Reducer.learn(sample), _told(rows_between(segments, room, 0, last), linked))
    beam = BEAMS[0]
    if last < count:
        newest = np.concatenate(list(rows_between(segments, room, last, count)))
        asked = newest[:: max(1, len(newest) // QUERIES)][:QUERIES]
        beam = _narrowest(segments, room, graph, asked)
        graph.add(_told(rows_between(segments, room, last, count), linked))
    return graph, beam


def _told(blocks: Iterable[Vectors], linked: Callable[[int], None]) -> Iterator[Vectors]:
    for rows in blocks:
        yield rows
        linked(len(rows))


def _narrowest(segments: Segments, room: int, graph: Graph, asked: Vectors) -> int:
    lowest = _lowest_of_nearest(segments, room, graph.covered, asked)
    reduced = graph.reducer(asked)
    for beam in BEAMS:
        _, rows = graph.search(reduced, NEIGHBOURS + SPARE, beam, None)
        found = 0
        for one, its_rows, its_lowest in zip(asked, rows, lowest, strict=True):
            places = [divmod(row, room) for row in its_rows.tolist() if row >= 0]
            scores = np.stack([segments[at].rows[row] for at, row in places]) @ one
            found += min(NEIGHBOURS, int((scores >= its_lowest - 1e-6).sum()))
        recall = found / (min(NEIGHBOURS, graph.covered) * len(asked))
        if recall >= RECALL:
            break
    log.info("A beam of %d finds %.2f %% of the nearest.", beam, 100 * recall)
    return beam


def _lowest_of_nearest(segments: Segments, room: int, stop: int, asked: Vectors) -> Vectors:
    """(q,) the similarity of the last of the NEIGHBOURS nearest rows before `stop`."""
    best = np.full((len(asked), NEIGHBOURS), -2.0, np.float32)
    for rows in rows_between(segments, room, 0, stop):
        both = np.concatenate([best, asked @ rows.T], axis=1)
        best = np.partition(both, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    lowest: Vectors = best.min(axis=1)
    return lowest
