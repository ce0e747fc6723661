"""What of an index is held in a GPU's memory, and in which form it fits there."""

from __future__ import annotations

import math
from typing import Final

import faiss
import numpy as np

from index.candidates import spans
from index.contract import Ids, Vectors
from index.gpu import MAX_K, Device
from index.graph_index import GraphIndex
from index.reducer import Reducer

ROOM: Final = 4 << 30  # bytes left to the encoder's batches and to FAISS's scratch memory
GROWTH: Final = 1.1  # of a replica until it is made anew
PART_BYTES: Final = 1 << 30  # of rows that FAISS moves together when they grow
ROWS_A_LIST: Final = 40  # of the sample that lists are learnt from
LIST_SLACK: Final = 1.5  # FAISS rounds the memory of a list up


class Flat:
    """All dimensions of every row in half precision.

    As Lists, it calls rows by the numbers that they were given, and raises RuntimeError where
    memory is short.
    """

    kind = "flat"

    def __init__(self, device: Device, dimension: int) -> None:
        self._device = device
        self._dimension = dimension
        self._parts: list[tuple[faiss.Index, Ids]] = []

    @staticmethod
    def bytes_of(count: int, dimension: int) -> int:
        return count * 2 * dimension + PART_BYTES

    def add(self, numbers: Ids, rows: Vectors) -> None:
        """Put in directions (n, D)."""
        if not self._parts or 2 * self._dimension * len(self._parts[-1][1]) >= PART_BYTES:
            self._parts.append((self._device.flat(self._dimension), np.empty(0, np.int64)))
        part, its_numbers = self._parts[-1]
        # Numbers first: a search must not find a place without one.
        self._parts[-1] = part, np.concatenate([its_numbers, numbers])
        part.add(rows)

    def search(self, asked: Vectors, wanted: int) -> tuple[Vectors, Ids]:
        """Scores and numbers (q, m), in no order, -1 in places that stay empty, of the `wanted`
        nearest to directions asked (q, D); 1 <= wanted <= MAX_K."""
        best = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
        for part, numbers in self._parts:
            scores, places = part.search(asked, wanted)
            scores = np.concatenate([best[0], scores], axis=1)
            rows = np.concatenate([best[1], np.where(places >= 0, numbers[places], -1)], axis=1)
            kept = np.argpartition(np.where(rows >= 0, -scores, np.inf), wanted - 1)[:, :wanted]
            best = np.take_along_axis(scores, kept, 1), np.take_along_axis(rows, kept, 1)
        return best


class Lists:
    """The main axes of every row in half precision, in lists of rows that lie together."""

    kind = "lists"

    def __init__(self, device: Device, reducer: Reducer, count: int, sample: Vectors) -> None:
        """`sample` holds directions (n, D), at least `count`."""
        self._reducer = reducer
        self._index = device.lists(reducer.dimension, count)
        self._index.train(reducer(sample))
        self.widest = min(count, MAX_K)

    @staticmethod
    def bytes_of(count: int, dimension: int) -> int:
        """`dimension` is that of reduced directions."""
        return math.ceil(LIST_SLACK * count * (2 * dimension + 8))

    def look_at(self, lists: int) -> None:
        """Look at so many of the lists, the nearest, in each search."""
        self._index.nprobe = lists

    def add(self, numbers: Ids, rows: Vectors) -> None:
        """See Flat."""
        self._index.add_with_ids(self._reducer(rows), numbers)

    def search(self, asked: Vectors, wanted: int) -> tuple[Vectors, Ids]:
        """See Flat; it misses what lies in lists that it does not look at."""
        scores, numbers = self._index.search(self._reducer(asked), wanted)
        return scores, numbers


def fitting(device: Device, master: GraphIndex) -> Flat | Lists:
    """An empty form with room for the rows of an index, the most exact that fits.

    Raises:
        RuntimeError: none fits.
    """
    free = device.free_bytes() - ROOM
    count = math.ceil(GROWTH * len(master))
    if Flat.bytes_of(count, master.dimension) <= free:
        return Flat(device, master.dimension)
    reducer = master.graph.reducer
    if Lists.bytes_of(count, reducer.dimension) <= free:
        lists = max(1, min(round(4 * math.sqrt(count)), len(master) // ROWS_A_LIST))
        return Lists(device, reducer, lists, sampled(master, ROWS_A_LIST * lists))
    raise RuntimeError(f"{count} clips do not fit into {max(free, 0) >> 20} MiB")


def sampled(master: GraphIndex, count: int) -> Vectors:
    """About `count` directions (n, D) of rows that live, from all over the index."""
    step = max(1, len(master) // count)
    living = spans(master.segments, None, master.room, 0)
    sample = np.concatenate([rows[np.flatnonzero(mask)[::step]] for _, rows, mask in living])
    return sample[:: max(1, len(sample) // count)]
