"""Our index, in process and behind the service."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.build import Engine, build
from index.contract import Ids, Vectors
from index.row_files import RowFiles
from scripts.index_benchmark.dataset import Dataset, K, nearest
from scripts.index_benchmark.engines import InProcess
from scripts.index_benchmark.measure import Ask, KeepAlive, get
from scripts.index_benchmark.service import Service, rows_of

ASKED_CLIPS = 1000
BLOCK = 4096


def built(base: Vectors) -> Engine:
    """The index over all of `base`, the ids its rows + 1. Its rows go into a directory for as long
    as this process lives."""
    ids = np.arange(1, len(base) + 1)
    directory = Path(tempfile.mkdtemp(prefix="bench-index-"))
    atexit.register(shutil.rmtree, directory)

    def blocks() -> Iterator[tuple[Ids, Vectors]]:
        for start in range(0, len(base), BLOCK):
            yield ids[start : start + BLOCK], base[start : start + BLOCK]

    return build(blocks, base.shape[1], None, RowFiles(directory))


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
