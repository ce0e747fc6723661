"""What a graph index takes into consideration for one query, and what it answers from that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import faiss
import numpy as np

from index.contract import Hits, Ids, Similarities, Vectors
from index.cosine import nearest, similarities
from index.graph import Beam, Bits, Graph, selecting
from index.segments import Mask, Segments

FEW: Final = 4096  # rows that pass a filter: up to so many are searched exactly
SPARE: Final = 10  # candidates re-ranked beyond k at first; seldom more have a chance
DEEPER: Final = 8  # times as many candidates, where the first do not settle the answer
MANY: Final = 4096  # candidates: where more are needed, every row is compared in full
DEVIATIONS: Final = 5  # of errors, above their mean
MOST_LOST: Final = 0.05  # what a row may lack of its squared length: five times the average
_TINY: Final = float(np.finfo(np.float32).tiny)


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


class _Scored(NamedTuple):
    """Rows that pass, by falling score: the inner product of what is kept of their directions."""

    scores: Vectors  # (n,)
    rows: Ids  # (n,)
    floor: float  # every row that passes and scores more is among them


class Candidates:
    """Finds and re-ranks the candidates of one call.

    Scores err, each row's otherwise. How much they may is known from what is not kept of the query,
    and seen in the candidates that are compared in full (though the best by score are so by error,
    where many score alike). Every row is compared then whose score leaves it a chance.
    """

    def __init__(
        self, moment: Moment, room: int, masks: list[Mask] | None, k: int, beam: Beam
    ) -> None:
        """`masks` say which rows (count,) of each segment pass a filter; None for all that live."""
        self._moment = moment
        self._room = room
        self._k = k
        self._beam = beam
        covered, closed = moment.graph.covered, moment.closed
        self._open = spans(moment.segments, masks, room, closed)
        self._reduced_bits: Bits | None = None  # all of them
        tail = [mask for _, _, mask in spans(moment.segments, masks, room, covered)]
        if not all(mask.all() for mask in tail):
            self._reduced_bits = packed(np.concatenate(tail)[: closed - covered])
        if masks is None:
            self._graph_bits = moment.alive
        else:
            self._graph_bits = packed(np.concatenate(masks)[:covered])
        self._share = 1.0 if self._graph_bits is None else _share(self._graph_bits, covered)

    def hits(self, direction: Vectors) -> Hits | None:
        """The k nearest to one direction (D,), of any length; None where the scores tell too little
        and every row is to be compared in full."""
        length = max(math.sqrt(float(np.vecdot(direction, direction))), _TINY)
        reduced = self._moment.graph.reducer.one(direction) / np.float32(length)
        deviation, lost = self._moment.graph.reducer.errors(reduced)
        margin = min(lost, MOST_LOST) + DEVIATIONS * deviation
        opened = self._of_open(direction)
        depth = self._k + SPARE
        while True:
            closed = self._of_closed(reduced, depth)
            hits = self._settled(direction, closed, opened, depth, margin)
            depth *= DEEPER
            if hits is not None or depth > MANY:
                return hits

    def _settled(
        self, direction: Vectors, closed: _Scored, opened: Ids, depth: int, margin: float
    ) -> Hits | None:
        """The k nearest among the closed rows scored and some open ones, of which at first `depth`
        and all are compared; None where a row that was not scored might be nearer.

        Scores may be lower than similarities by `margin`, or more where those compared tell so.
        """
        first = closed.rows[:depth]
        ids, similarity = self._compared(direction, np.concatenate([first, opened]))
        errors = similarity[: len(first)] - closed.scores[:depth]
        if len(similarity) >= self._k and len(first):
            last = np.partition(similarity, -self._k)[-self._k]
            margin = max(float(errors.mean() + DEVIATIONS * errors.std()), margin)
            if last - margin < closed.floor:
                return None
            needed = int(np.searchsorted(-closed.scores, margin - last, side="right"))
            if needed > depth:
                more = self._compared(direction, closed.rows[depth:needed])
                ids, similarity = (
                    np.concatenate([ids, more[0]]),
                    np.concatenate([similarity, more[1]]),
                )
        return nearest(ids, similarity, self._k)

    def _compared(self, direction: Vectors, rows: Ids) -> tuple[Ids, Similarities]:
        return compared(self._moment.segments, self._room, direction, rows)

    def _of_closed(self, reduced: Vectors, depth: int) -> _Scored:
        """The best `depth` by score, or more."""
        graph = self._of_graph(reduced, depth)
        codes = self._moment.reduced
        if not codes.ntotal:
            return graph
        bits = self._reduced_bits
        selector = None if bits is None else selecting(bits)
        found = codes.search(reduced, depth, params=faiss.SearchParameters(sel=selector))
        tail = _scored(*found)
        scores = np.concatenate([graph.scores, tail.scores])
        rows = np.concatenate([graph.rows, tail.rows + self._moment.graph.covered])
        order = np.argsort(-scores, kind="stable")
        return _Scored(scores[order], rows[order], max(graph.floor, tail.floor))

    def _of_graph(self, reduced: Vectors, depth: int) -> _Scored:
        # The rows nearest to the query that the graph looks at must hold as many that pass.
        # Asked for those alone, it would fill up with others that it saw on its way, far away.
        graph, bits, share = self._moment.graph, self._graph_bits, self._share
        if share * graph.covered > FEW:
            looked_at = self._beam.search(graph, reduced, math.ceil(1.5 * depth), share)
            found = None if looked_at is None else _scored(*looked_at)
            if found is not None and bits is not None:
                passing = _are_set(bits, found.rows)
                found = _Scored(found.scores[passing], found.rows[passing], found.floor)
            if found is not None and len(found.rows) >= depth:
                return found
        return _scored(*graph.scan(reduced, DEEPER * depth, bits))

    def _of_open(self, direction: Vectors) -> Ids:
        """The best of the rows that are compared in full."""
        # As few rows as these are compared without letting another thread have the interpreter.
        if not self._open:
            return np.empty(0, np.int64)
        scores = np.concatenate([np.vecdot(rows, direction)[mask] for _, rows, mask in self._open])
        rows = np.concatenate([np.flatnonzero(mask) + first for first, _, mask in self._open])
        wanted = self._k + SPARE
        return rows if len(rows) <= wanted else rows[np.argpartition(-scores, wanted)[:wanted]]


def compared(
    segments: Segments, room: int, direction: Vectors, rows: Ids
) -> tuple[Ids, Similarities]:
    """Ids (n,) of these rows (n,) and their similarities (n,) to one direction (D,)."""
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0)
    places = [divmod(row, room) for row in rows.tolist()]
    ids = np.array([segments[at].row_ids[row] for at, row in places], np.int64)
    vectors = gathered([segments[at].rows[row] for at, row in places])
    return ids, similarities(direction, vectors)


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


def _are_set(bits: Bits, rows: Ids) -> Mask:
    """(n,) of rows (n,)."""
    mask: Mask = (bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(np.bool_)
    return mask


def _scored(scores: Vectors, rows: Ids) -> _Scored:
    """What FAISS found for one query: scores (1, n) and rows (1, n), -1 where there are no more."""
    count = int((rows[0] >= 0).sum())
    full = count == rows.shape[1]
    return _Scored(scores[0][:count], rows[0][:count], float(scores[0][-1]) if full else -math.inf)
