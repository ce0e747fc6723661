"""Our index, in process and behind the service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.contract import Ids, VectorIndex, Vectors
from index.mean import build
from scripts.index_benchmark.dataset import Dataset, K, nearest
from scripts.index_benchmark.engines import InProcess
from scripts.index_benchmark.measure import Ask, KeepAlive, get
from scripts.index_benchmark.service import Service, rows_of

ASKED_CLIPS = 1000


def built(base: Vectors) -> VectorIndex:
    """The index over all of `base`, the ids its rows + 1."""
    return build(np.arange(1, len(base) + 1), base, None)


class Ours(InProcess):
    settings: Sequence[int] = (0,)  # the library chooses

    def build(self, data: Dataset) -> float:
        begun = time.perf_counter()
        self._index = built(data.base)
        took = time.perf_counter() - begun
        self._name = type(self._index).__name__
        self._queries = data.queries
        self._truth = nearest(data.base, self._index.mean, data.queries)
        return took

    def use(self, setting: int) -> None:
        pass

    def client(self) -> Ask:
        return lambda query: self._index.search(query, K)

    def rows(self, answer: Any) -> list[int]:
        return [int(one) - 1 for one in answer[0].ids]

    def chosen(self) -> str:
        return self._name


class OursOverHttp:
    settings: Sequence[int] = (0,)

    def __init__(self, directory: Path, model: str | None) -> None:
        self._directory, self._model = directory, model

    def build(self, data: Dataset) -> float:
        self.service = Service(data, self._directory, self._model)
        asked = np.random.default_rng(2).choice(len(data.base), ASKED_CLIPS, replace=False)
        mean = self.service.mean(data.base)
        self._truth = nearest(data.base, mean, data.base[asked], themselves=asked)
        self._requests = [get(f"/api/v1/clips/{row + 1}/similar?k={K}") for row in asked]
        return self.service.rebuilt

    def use(self, setting: int) -> None:
        pass

    def questions(self) -> tuple[Sequence[Any], Ids]:
        return self._requests, self._truth

    def client(self) -> Ask:
        return KeepAlive(self.service.port)

    def rows(self, answer: Any) -> list[int]:
        return rows_of(answer)

    def chosen(self) -> str:
        return f"{self.service.kind}, ready in {self.service.started:.1f} s from a snapshot"

    def processes(self) -> list[int]:
        return [self.service.running.process.pid]

    def close(self) -> None:
        self.service.stop()
