"""What is around clips in an index: their nearest, and how near those are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.analysis.repeats import NEIGHBOURS, Floats, locality
from app.library.current import Current
from app.library.nice import be_nice
from index.contract import Hits

KNOWN: Final = 500_000  # clips whose locality is remembered: 120 MB

Search = Callable[[NDArray[np.float32], int], list[Hits]]
Localities = dict[int, tuple[float, float]]  # by clip


class Neighbours:
    """The nearest of many clips at once, by as many threads of low priority as there are cores: a
    search has one, and a library of a million clips is gone through for minutes."""

    def __init__(self) -> None:
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "neighbours", initializer=be_nice)

    def __call__(self, search: Search, asked: NDArray[np.float32]) -> list[Hits]:
        """Up to NEIGHBOURS + 1 of each direction (q, D): it may be one of them itself."""
        if len(asked) < 2 * self._threads:
            return search(asked, NEIGHBOURS + 1)
        parts = np.array_split(asked, self._threads)
        found = self._pool.map(lambda part: search(part, NEIGHBOURS + 1), parts)
        return list(itertools.chain.from_iterable(found))

    def close(self) -> None:
        self._pool.shutdown()


class Surroundings:
    """In one build of an index.

    Args:
        known: localities that need not be asked for again, to which those asked for are added.
        neighbours: None where somebody waits.
    """

    def __init__(
        self, current: Current, known: Localities, neighbours: Neighbours | None = None
    ) -> None:
        self._current = current
        self._known = known
        self._neighbours = neighbours

    def directions(self, clip_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """(D,) of those of the clips that the index holds."""
        return self._current.directions_of(clip_ids)

    def nearest(self, clip_ids: Sequence[int]) -> dict[int, list[int]]:
        """The ten nearest others of those of the clips that the index holds."""
        directions = self.directions(clip_ids)
        if not directions:
            return {}
        asked = np.stack(list(directions.values()))
        if self._neighbours is None:
            found = self._current.search(asked, NEIGHBOURS + 1)
        else:
            found = self._neighbours(self._current.search, asked)
        if len(self._known) > KNOWN:
            self._known.clear()
        nearest = {}
        for clip_id, hits in zip(directions, found, strict=True):
            others = hits.ids != clip_id
            nearest[clip_id] = hits.ids[others][:NEIGHBOURS].tolist()
            third, tenth = locality(hits.similarities[others][:NEIGHBOURS]).tolist()
            self._known[clip_id] = third, tenth
        return nearest

    def localities(self, clip_ids: Sequence[int]) -> dict[int, Floats]:
        """(2,) of each, as `app.analysis.repeats.locality` tells them."""
        self.nearest([i for i in clip_ids if i not in self._known])
        nothing = locality(np.zeros(0))
        return {i: np.array(self._known[i]) if i in self._known else nothing for i in clip_ids}
