"""The contract in its simplest form: what the tests hold every engine to."""

import threading

import numpy as np

from index.contract import Hits, Ids, Stored, Vectors
from index.cosine import (
    checked_ids,
    checked_mean,
    checked_new_ids,
    checked_vectors,
    directions,
    nearest,
    similarities,
)
from index.errors import AlreadyPresent


class ExactIndex:
    """A dict of directions, all of them compared with every query, under one lock."""

    kind = "exact"

    def __init__(self, dimension: int, mean: Vectors | None = None) -> None:
        """An empty index; mean (D,), zeros when None."""
        self.dimension = dimension
        self.mean = checked_mean(mean, dimension)
        self._direction_of: dict[int, Vectors] = {}
        self._lock = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        return len(self) * (4 * self.dimension + 8)

    def __len__(self) -> int:
        return len(self._direction_of)

    def __contains__(self, id: object) -> bool:
        return id in self._direction_of

    def ids(self) -> Ids:
        with self._lock:
            return np.array(sorted(self._direction_of), np.int64)

    def directions_of(self, ids: Ids) -> tuple[Ids, Vectors]:
        with self._lock:
            found = set(checked_ids(ids).tolist()) & self._direction_of.keys()
            known = np.array(sorted(found), np.int64)
            return known, self._rows(known)

    def direction_of(self, id: int) -> Vectors | None:
        return self._direction_of.get(id)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        vectors = checked_vectors(vectors, self.dimension)
        new = dict(
            zip(
                checked_new_ids(ids, len(vectors)).tolist(),
                directions(vectors, self.mean),
                strict=True,
            )
        )
        with self._lock:
            if present := new.keys() & self._direction_of.keys():
                raise AlreadyPresent(present)
            self._direction_of.update(new)

    def remove(self, ids: Ids) -> int:
        with self._lock:
            found = set(checked_ids(ids).tolist()) & self._direction_of.keys()
            for one in found:
                del self._direction_of[one]
            return len(found)

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
        exact: bool = False,
    ) -> list[Hits]:
        asked = directions(checked_vectors(queries, self.dimension), self.mean)
        return self.search_directions(asked, k, allowed=allowed, excluded=excluded, exact=exact)

    def search_directions(
        self,
        asked: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
        exact: bool = False,
    ) -> list[Hits]:
        asked = checked_vectors(asked, self.dimension)
        if k < 1:
            raise ValueError(f"k is {k}, wanted at least 1")
        with self._lock:
            passing = set(self._direction_of)
            if allowed is not None:
                passing &= set(checked_ids(allowed).tolist())
            if excluded is not None:
                passing -= set(checked_ids(excluded).tolist())
            ids = np.array(sorted(passing), np.int64)
            rows = self._rows(ids)
        return [nearest(ids, similarities(one, rows), k) for one in asked]

    def stored(self) -> Stored:
        ids = self.ids()
        with self._lock:
            return Stored(ids, iter([self._rows(ids)]))

    def _rows(self, ids: Ids) -> Vectors:
        rows = [self._direction_of[one] for one in ids.tolist()]
        return np.array(rows, np.float32).reshape(len(ids), self.dimension)
