"""What a graph index takes into consideration for one query, and what it answers from that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import faiss
import numpy as np

from index.contract import Hits, Ids, Similarities, Vectors
from index.cosine import nearest, rounding_margin, similarities_of_each
from index.graph import Beam, Bits, Graph, Look, selecting
from index.segments import Mask, Segments

FEW: Final = 4096  # rows that pass a filter: up to so many are searched exactly
SPARE: Final = 10  # candidates re-ranked beyond k at first; seldom more have a chance
DEEPER: Final = 8  # times as many candidates, where the first do not settle the answer
MANY: Final = 4096  # candidates: where more are needed, every row is compared in full
DEVIATIONS: Final = 5  # of errors, above their mean
MOST_LOST: Final = 0.05  # what a row may lack of its squared length: five times the average
ROWS: Final = 1024  # that are compared at once
_TINY: Final = float(np.finfo(np.float32).tiny)


Compared = tuple[Ids, Similarities]  # ids (n,) and similarities (n,)


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

    def hits(self, directions: Vectors) -> list[Hits | None]:
        """The k nearest to each direction (q, D), of any length; None where the scores tell too
        little and every row is to be compared in full."""
        lengths = np.sqrt(np.vecdot(directions, directions))[:, np.newaxis]
        reduced = self._moment.graph.reducer.each(directions) / np.maximum(lengths, _TINY)
        depth = self._k + SPARE
        closed = self._of_closed(reduced, depth)
        deviations, lost = self._moment.graph.reducer.errors(reduced)
        margins = np.minimum(lost, MOST_LOST) + DEVIATIONS * deviations
        first = [
            np.concatenate([its.rows[:depth], self._of_open(one)])
            for its, one in zip(closed, directions, strict=True)
        ]
        known = self._compared(directions, first)
        queries = zip(directions, reduced, closed, known, margins.tolist(), strict=True)
        return [self._of_one(*query, depth) for query in queries]

    def _of_one(
        self,
        direction: Vectors,
        reduced: Vectors,
        closed: _Scored,
        known: Compared,
        margin: float,
        depth: int,
    ) -> Hits | None:
        while True:
            hits = self._settled(direction, closed, known, depth, margin)
            depth *= DEEPER
            if hits is not None or depth > MANY:
                return hits
            [closed] = self._of_closed(reduced[np.newaxis], depth)
            rows = np.concatenate([closed.rows[:depth], self._of_open(direction)])
            [known] = self._compared(direction[np.newaxis], [rows])

    def _settled(
        self, direction: Vectors, closed: _Scored, known: Compared, depth: int, margin: float
    ) -> Hits | None:
        """The k nearest among the closed rows scored and some open ones; None where a row that was
        not scored might be nearer. The first `depth` of the closed ones and the open ones were
        compared.

        Scores may be lower than similarities by `margin`, or more where those compared tell so.
        """
        ids, similarity = known
        count = len(closed.rows[:depth])
        errors = similarity[:count] - closed.scores[:count]
        if len(similarity) >= self._k and count:
            last = np.partition(similarity, -self._k)[-self._k]
            mean = float(errors.sum()) / count
            variance = float(np.vecdot(errors, errors)) / count - mean**2
            margin = max(mean + DEVIATIONS * math.sqrt(max(variance, 0.0)), margin)
            if last - margin < closed.floor:
                return None
            needed = int(np.searchsorted(-closed.scores, margin - last, side="right"))
            if needed > depth:
                [more] = self._compared(direction[np.newaxis], [closed.rows[depth:needed]])
                ids = np.concatenate([ids, more[0]])
                similarity = np.concatenate([similarity, more[1]])
        return nearest(ids, similarity, self._k)

    def _compared(self, directions: Vectors, rows: Sequence[Ids]) -> list[Compared]:
        return compared(self._moment.segments, self._room, directions, rows)

    def _of_closed(self, reduced: Vectors, depth: int) -> list[_Scored]:
        """For each query (q, d) the best `depth` by score, or more."""
        graph = self._of_graph(reduced, depth)
        codes = self._moment.reduced
        if not codes.ntotal:
            return graph
        bits = self._reduced_bits
        selector = None if bits is None else selecting(bits)
        found = codes.search(reduced, depth, params=faiss.SearchParameters(sel=selector))
        covered = self._moment.graph.covered
        return [
            _merged(one, _scored(scores, rows), covered)
            for one, scores, rows in zip(graph, *found, strict=True)
        ]

    def _of_graph(self, reduced: Vectors, depth: int) -> list[_Scored]:
        # The rows nearest to the query that the graph looks at must hold as many that pass.
        # Asked for those alone, it would fill up with others that it saw on its way, far away.
        graph, share = self._moment.graph, self._share
        looked_at: list[Look | None] = [None] * len(reduced)
        if share * graph.covered > FEW:
            looked_at = self._beam.search(graph, reduced, math.ceil(1.5 * depth), share)
        return [
            self._passing(one, asked, depth) for one, asked in zip(looked_at, reduced, strict=True)
        ]

    def _passing(self, looked_at: Look | None, asked: Vectors, depth: int) -> _Scored:
        """What the graph found for one query (d,), or what all rows have where that is too few."""
        bits = self._graph_bits
        if looked_at is not None:
            found = _scored(*looked_at)
            if bits is not None:
                passing = _are_set(bits, found.rows)
                found = _Scored(found.scores[passing], found.rows[passing], found.floor)
            if len(found.rows) >= depth:
                return found
        scores, rows = self._moment.graph.scan(asked[np.newaxis], DEEPER * depth, bits)
        return _scored(scores[0], rows[0])

    def _of_open(self, direction: Vectors) -> Ids:
        """The best of the rows that are compared in full."""
        # As few rows as these are compared without letting another thread have the interpreter.
        if not self._open:
            return np.empty(0, np.int64)
        scores = np.concatenate([np.vecdot(rows, direction)[mask] for _, rows, mask in self._open])
        rows = np.concatenate([np.flatnonzero(mask) + first for first, _, mask in self._open])
        if len(rows) <= self._k:
            return rows
        last = np.partition(scores, -self._k)[-self._k]
        near: Ids = rows[~(scores < last - rounding_margin(direction))]  # or where it is no number
        return near


def compared(
    segments: Segments, room: int, directions: Vectors, rows: Sequence[Ids]
) -> list[Compared]:
    """Ids (n,) of these rows (n,) for each direction (q, D), and their similarities (n,) to it."""
    most = max(len(its) for its in rows)
    together = max(1, ROWS // max(1, most))
    if len(rows) > 1 and (len(rows) > together or any(len(its) < most for its in rows)):
        # Not all at once: they take too much memory, or are not as many for each.
        step = together if all(len(its) == most for its in rows) else 1
        parts = (slice(at, at + step) for at in range(0, len(rows), step))
        return [
            one for part in parts for one in compared(segments, room, directions[part], rows[part])
        ]
    if not most:
        return [(np.empty(0, np.int64), np.empty(0))] * len(rows)
    places = [divmod(row, room) for row in np.concatenate(rows).tolist()]
    ids = np.array([segments[at].row_ids.item(row) for at, row in places], np.int64)
    vectors = gathered([segments[at].rows[row] for at, row in places])
    vectors = vectors.reshape(len(rows), most, -1)
    return list(
        zip(ids.reshape(len(rows), most), similarities_of_each(directions, vectors), strict=True)
    )


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
    """What FAISS found for one query: scores (n,) and rows (n,), -1 where there are no more."""
    full = bool(rows[-1] >= 0)
    count = len(rows) if full else int((rows >= 0).sum())
    return _Scored(scores[:count], rows[:count], float(scores[-1]) if full else -math.inf)


def _merged(graph: _Scored, tail: _Scored, covered: int) -> _Scored:
    """The tail's rows are numbered from the first that the graph does not cover."""
    scores = np.concatenate([graph.scores, tail.scores])
    rows = np.concatenate([graph.rows, tail.rows + covered])
    order = np.argsort(-scores, kind="stable")
    return _Scored(scores[order], rows[order], max(graph.floor, tail.floor))
