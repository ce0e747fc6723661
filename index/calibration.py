"""How wide a graph must look to miss next to nothing, measured on the library itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from index.candidates import Candidates, Moment
from index.contract import Vectors
from index.graph import MAX_BEAM, NEIGHBOURS, Beam, Graph, nearness
from index.reducer import SAMPLE, Reducer
from index.segments import Segments, rows_between

WIDTHS: Final = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512, 768, 1024)
QUERIES: Final = 256  # rows to measure with
RECALL: Final = 0.998  # wanted, so that 0.99 holds whatever is asked for
LEAST_RECALL: Final = 0.995  # taken where none finds more

log = logging.getLogger(__name__)


def measured_graph(
    segments: Segments, room: int, linked: Callable[[int], None]
) -> tuple[Graph, Beam]:
    """A graph over all rows of the segments, removed ones included, and the narrowest beam with
    which searches find the neighbours that a scan in full finds; where none does, one that is too
    wide to be used.

    Measured with rows that it does not have yet: those that it has are found more easily.
    `linked` is called as GraphIndex.build says.
    """
    count = sum(segment.count for segment in segments)
    step = max(1, count // SAMPLE)
    sample = np.concatenate([segment.rows[: segment.count : step] for segment in segments])
    last = max(1, count - max(QUERIES, count // 50))
    graph = Graph.build(Reducer.learn(sample), _told(rows_between(segments, room, 0, last), linked))
    beam = Beam(WIDTHS[0])
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


def _narrowest(segments: Segments, room: int, graph: Graph, asked: Vectors) -> Beam:
    lowest = _lowest_of_nearest(segments, room, graph.covered, asked)
    reduced = graph.reducer(asked)
    moment = Moment(segments, graph, graph.reducer.codes(), None)
    in_graph = [
        np.arange(at * room, at * room + segment.count) < graph.covered
        for at, segment in enumerate(segments)
    ]
    wanted = min(NEIGHBOURS, graph.covered)
    enough, told = None, []
    for width in WIDTHS:
        scores, _ = graph.search(reduced, width)
        beam = Beam(width, max(0.0, float(np.median(nearness(reduced, scores)))))
        candidates = Candidates(moment, room, in_graph, wanted, beam)
        found = 0
        for hits, its_lowest in zip(candidates.hits(asked), lowest, strict=True):
            near = wanted if hits is None else (hits.similarities >= its_lowest - 1e-6).sum()
            found += min(wanted, int(near))
        recall = found / (wanted * len(asked))
        told.append(f"{width}: {100 * recall:.2f} %")
        if recall >= RECALL or (enough is None and recall >= LEAST_RECALL):
            enough = beam
        if recall >= RECALL:
            break
    log.info("Of the nearest, beams find: %s.", ", ".join(told))
    if enough is None:
        log.warning("The graph misses too much: every search looks at all clips.")
        return Beam(MAX_BEAM + 1)
    return enough


def _lowest_of_nearest(segments: Segments, room: int, stop: int, asked: Vectors) -> Vectors:
    """(q,) the similarity of the last of the NEIGHBOURS nearest rows before `stop`."""
    best = np.full((len(asked), NEIGHBOURS), -2.0, np.float32)
    for rows in rows_between(segments, room, 0, stop):
        both = np.concatenate([best, asked @ rows.T], axis=1)
        best = np.partition(both, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    lowest: Vectors = best.min(axis=1)
    return lowest
