"""A copy of a graph index's rows in a GPU's memory, for searches with many queries at once."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from index.candidates import compared, spans
from index.contract import Hits, Ids, Vectors
from index.cosine import checked_vectors, nearest
from index.gpu import MAX_K, Device
from index.gpu_forms import Flat, Lists, fitting, sampled
from index.graph_index import GraphIndex
from index.scan import best_products
from index.segments import Mask, Segments

SPARE: Final = 32  # candidates re-ranked beyond k
NEW: Final = 512  # rows compared on the CPU before they are copied together
CHANGED: Final = 0.1  # share of its rows, added or removed, from which it is made anew
QUERIES: Final = 256  # rows to measure recall with
NEIGHBOURS: Final = 10
RECALL: Final = 0.999  # wanted of the lists that are looked at
LISTS: Final = (8, 16, 32, 64, 128, 256, 512, 1024)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)  # queries in a call, to measure speed with

log = logging.getLogger(__name__)


class GpuReplica:
    """Candidates from the GPU, of the newest rows from the CPU; what the master has removed is left
    out, and the rest is ranked by the master's own vectors. Where all that does not do, the answer
    is None, and the master is to be asked.

    Rows are called by their numbers in the master, which stay for its life. Searches are safe from
    any number of threads and take turns.
    """

    def __init__(self, master: GraphIndex, device: Device, form: Flat | Lists) -> None:
        self.master = master
        self.kind = form.kind
        self.least = 1  # queries in a call
        self._device = device
        self._form: Flat | Lists | None = form
        self._covered = 0  # the master's rows before this one are copied, if they lived
        self._made_of = len(master)
        self._removed = master.removed  # rows that it never had

    @classmethod
    def make(cls, master: GraphIndex, device: Device, stopping: threading.Event) -> GpuReplica:
        """Of all rows; of some, when it is to stop.

        Raises:
            RuntimeError: memory is short.
        """
        with device.lock:
            form = fitting(device, master)
        replica = cls(master, device, form)
        try:
            replica.extend(stopping)
            if not stopping.is_set():
                replica.adjust()
        except BaseException:
            replica.close()
            raise
        return replica

    @property
    def is_outgrown(self) -> bool:
        """Whether so many rows came and went that it should be made anew."""
        moment = self.master.moment
        added = sum(segment.count for segment in moment.segments) - self._removed - self._made_of
        return added + self._gone > CHANGED * max(self._made_of, 1)

    @property
    def _gone(self) -> int:
        """Rows that it has and the master removed."""
        return self.master.removed - self._removed

    def extend(self, stopping: threading.Event) -> None:
        """Copy the rows that the master has in addition, if they are many.

        Raises:
            RuntimeError: memory is short.
        """
        new = spans(self.master.segments, None, self.master.room, self._covered)
        if sum(len(rows) for _, rows, _ in new) < NEW and self._covered:
            return
        for first, rows, living in new:
            if stopping.is_set():
                return
            places = np.flatnonzero(living)
            with self._device.lock:
                if self._form is None:
                    return
                if len(places):
                    self._form.add(first + places, rows[places])
                self._covered = first + len(rows)

    def close(self) -> None:
        """Free the GPU's memory."""
        with self._device.lock:
            self._form = None

    def search(self, asked: Vectors, k: int) -> list[Hits] | None:
        """As the master's `search_directions` without filters; None where that is to be asked.

        Raises:
            WrongDimension, NotFinite: the directions are unfit.
            RuntimeError: memory is short.
        """
        asked = checked_vectors(asked, self.master.dimension)
        if len(asked) < self.least or k < 1:
            return None
        wanted = math.ceil((k + SPARE) * (1 + self._gone / max(self._made_of, 1)))
        while wanted <= MAX_K:
            found = self._search(asked, k, wanted)
            if found is not None or not self._gone:
                return found
            wanted *= 4  # rows around a query were removed
        return None

    def candidates(self, asked: Vectors, wanted: int) -> tuple[Vectors, Ids, int] | None:
        """Scores and rows (q, m) that the GPU finds for directions asked (q, D), of the master's
        first so many rows; None when it is closed. Raises RuntimeError: memory is short."""
        with self._device.lock:
            if self._form is None:
                return None
            return *self._form.search(asked, wanted), self._covered

    def _search(self, asked: Vectors, k: int, wanted: int) -> list[Hits] | None:
        """None where too few of the rows that are wanted from the GPU live."""
        found_there = self.candidates(asked, wanted)
        if found_there is None:
            return None
        scores, rows, covered = found_there
        segments, room = self.master.segments, self.master.room  # now: all rows found are there
        new = _of_new(segments, room, covered, asked, wanted)
        size = sum(segment.live_count for segment in segments)
        chosen = []
        for at in range(len(asked)):
            living = _living(segments, room, rows[at])
            its_scores = np.concatenate([scores[at][living], *(scores[at] for scores, _ in new)])
            its_rows = np.concatenate([rows[at][living], *(rows[at] for _, rows in new)])
            if living.sum() < k + SPARE // 2 and len(its_rows) < size:
                return None
            if len(its_rows) > k + SPARE:
                its_rows = its_rows[np.argpartition(-its_scores, k + SPARE - 1)[: k + SPARE]]
            chosen.append(its_rows)
        return [nearest(*one, k) for one in compared(segments, room, asked, chosen)]

    def adjust(self) -> None:
        """Choose how many lists to look at, and how many queries a call must have, by measuring."""
        asked = sampled(self.master, QUERIES)[:QUERIES]
        if isinstance(self._form, Lists):
            self._look_at_enough(self._form, asked)
        self.least = self._quicker_from(asked)
        log.info(
            "The GPU has %d clips (%s), for searches with %d queries or more.",
            len(self.master),
            self.kind,
            self.least,
        )

    def _look_at_enough(self, lists: Lists, asked: Vectors) -> None:
        k = NEIGHBOURS + 1  # each finds itself
        nearest = self.master.search_directions(asked, k, exact=True)
        for count in (*(count for count in LISTS if count < lists.widest), lists.widest):
            lists.look_at(count)
            recall = _recall(self.search(asked, k), nearest)
            if recall >= RECALL:
                break
        log.info("%d lists have %.2f %% of the nearest.", count, 100 * recall)

    def _quicker_from(self, asked: Vectors) -> int:
        """Queries in a call from which it answers sooner than the master."""
        for count in BATCHES:
            its, masters = self.search, self.master.search_directions
            if _seconds(its, asked[:count]) <= _seconds(masters, asked[:count]):
                return count
        return 2 * BATCHES[-1]


def _of_new(
    segments: Segments, room: int, covered: int, asked: Vectors, wanted: int
) -> list[tuple[Vectors, Ids]]:
    """Scores and numbers of the best rows from `covered` on, compared in full."""
    found = []
    for first, rows, living in spans(segments, None, room, covered):
        scores, places = best_products(rows, asked, wanted, living)
        found.append((scores, places + first))
    return found


def _living(segments: Segments, room: int, rows: Ids) -> Mask:
    """Which of the rows (n,) are there and not removed."""
    places = [divmod(row, room) for row in rows.tolist()]
    return np.array([at >= 0 and segments[at].written_live[row] for at, row in places], np.bool_)


def _recall(found: list[Hits] | None, nearest: list[Hits]) -> float:
    """Share of the nearest but the first that were found, or others as near."""
    if found is None:  # too few, in some of the answers
        return 0.0
    right = sum(
        int((one.similarities >= other.similarities[-1]).sum()) - 1
        for one, other in zip(found, nearest, strict=True)
    )
    return right / max(1, sum(len(one.ids) - 1 for one in nearest))


def _seconds(search: Callable[[Vectors, int], object], asked: Vectors) -> float:
    """The shortest of three searches."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        search(asked, NEIGHBOURS)
        took.append(time.perf_counter() - begun)
    return min(took)
