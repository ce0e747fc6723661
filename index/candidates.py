"""What a graph index takes into consideration for one query, and what it answers from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np

from index.contract import Hits, Ids, Vectors
from index.cosine import nearest, similarities
from index.graph import MAX_BEAM, Bits, Graph
from index.scan import best_products
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
        tail = [np.empty(0, np.bool_)]
        tail += [mask for _, _, mask in spans(moment.segments, masks, room, covered)]
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
        bits = self._reduced_bits
        selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        scores, rows = codes.search(
            reduced, self._wanted, params=faiss.SearchParameters(sel=selector)
        )
        scores, rows = _there(scores, rows)
        return scores, rows + self._moment.graph.covered

    def _of_open(self, asked: Vectors) -> list[tuple[Vectors, Ids]]:
        found = []
        for first, rows, mask in self._open:
            scores, places = best_products(rows, asked, self._wanted, mask)
            found.append((scores[0], places[0] + first))
        return found


def ranked(segments: Segments, room: int, asked: Vectors, rows: Ids, k: int) -> Hits:
    """The k nearest of these rows (n,), none twice, to one direction (D,), by their similarity."""
    if not len(rows):
        return Hits(np.empty(0, np.int64), np.empty(0))
    places = [divmod(row, room) for row in rows.tolist()]
    ids = np.array([segments[at].row_ids[row] for at, row in places], np.int64)
    vectors = np.concatenate([segments[at].rows[row] for at, row in places])
    return nearest(ids, similarities(asked, vectors.reshape(len(ids), -1)), k)


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
