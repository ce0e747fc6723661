"""hnswlib, usearch and FAISS, each a library in the process that searches."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from scripts.index_benchmark.dataset import Dataset, K
from scripts.index_benchmark.engines import InProcess
from scripts.index_benchmark.measure import Ask

EF = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
NPROBE = (4, 8, 16, 32, 64, 128, 256)
NEIGHBOURS = 32  # of a node of the graph
EF_CONSTRUCTION = 200
ADDED_AT_ONCE = 50_000  # rows read from the file's mapping together


class Hnswlib(InProcess):
    settings: Sequence[int] = EF

    def build(self, data: Dataset) -> float:
        import hnswlib

        self.take_queries(data)
        begun = time.perf_counter()
        n, dimension = data.base.shape
        self._index = hnswlib.Index(space="ip", dim=dimension)  # unit vectors: the cosine
        self._index.init_index(n, M=NEIGHBOURS, ef_construction=EF_CONSTRUCTION)
        for start in range(0, n, ADDED_AT_ONCE):
            block = data.base[start : start + ADDED_AT_ONCE]
            self._index.add_items(block, np.arange(start, start + len(block)))
        return time.perf_counter() - begun

    def use(self, setting: int) -> None:
        self._ef = setting
        self._index.set_ef(setting)

    def client(self) -> Ask:
        return lambda query: self._index.knn_query(query, K, num_threads=1)

    def rows(self, answer: Any) -> list[int]:
        found: list[int] = answer[0][0].tolist()
        return found

    def chosen(self) -> str:
        return f"float32, M {NEIGHBOURS}, ef_construction {EF_CONSTRUCTION}, ef {self._ef}"


class Usearch(InProcess):
    settings: Sequence[int] = EF

    def build(self, data: Dataset) -> float:
        from usearch.index import Index

        self.take_queries(data)
        begun = time.perf_counter()
        n, dimension = data.base.shape
        self._index = Index(
            ndim=dimension,
            metric="ip",
            dtype="f16",
            connectivity=NEIGHBOURS,
            expansion_add=EF_CONSTRUCTION,
        )
        for start in range(0, n, ADDED_AT_ONCE):
            block = np.asarray(data.base[start : start + ADDED_AT_ONCE])
            self._index.add(np.arange(start, start + len(block)), block, threads=os.cpu_count())
        return time.perf_counter() - begun

    def use(self, setting: int) -> None:
        self._index.expansion_search = setting

    def client(self) -> Ask:
        return lambda query: self._index.search(query[0], K, threads=1)

    def rows(self, answer: Any) -> list[int]:
        found: list[int] = answer.keys.tolist()
        return found

    def chosen(self) -> str:
        return (
            f"f16, connectivity {NEIGHBOURS}, expansion_add {EF_CONSTRUCTION}, "
            f"expansion_search {self._index.expansion_search}"
        )


class Faiss(InProcess):
    """An index of FAISS's factory alone: `HNSW…` is searched by ef, `IVF…` by nprobe."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self.settings: Sequence[int] = EF if factory.startswith("HNSW") else NPROBE

    def build(self, data: Dataset) -> float:
        import faiss

        self.take_queries(data)
        begun = time.perf_counter()
        n, dimension = data.base.shape
        lists = 2 ** round(np.log2(4 * np.sqrt(n)))
        self._description = self._factory.format(lists=lists)
        self._index: Any = faiss.index_factory(
            dimension, self._description, faiss.METRIC_INNER_PRODUCT
        )
        sample = np.random.default_rng(0).choice(n, min(n, 64 * lists), replace=False)
        self._index.train(data.base[np.sort(sample)])
        for start in range(0, n, ADDED_AT_ONCE):
            self._index.add(np.asarray(data.base[start : start + ADDED_AT_ONCE]))
        faiss.omp_set_num_threads(1)  # of a search; concurrent ones use the other cores
        return time.perf_counter() - begun

    def use(self, setting: int) -> None:
        self._setting = setting
        if self._factory.startswith("HNSW"):
            self._index.hnsw.efSearch = setting
        else:
            self._index.nprobe = setting

    def client(self) -> Ask:
        return lambda query: self._index.search(query, K)

    def rows(self, answer: Any) -> list[int]:
        found: list[int] = answer[1][0].tolist()
        return found

    def chosen(self) -> str:
        name = "ef" if self._factory.startswith("HNSW") else "nprobe"
        return f"{self._description}, {name} {self._setting}"
