"""Chroma's server, over its HTTP interface."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from index.contract import Ids
from scripts.index_benchmark.dataset import Dataset, K
from scripts.index_benchmark.libraries import EF, EF_CONSTRUCTION, NEIGHBOURS
from scripts.index_benchmark.measure import Ask, KeepAlive, post
from scripts.index_benchmark.server import Server, installed

ADDED_AT_ONCE = 2_000
SYNC_THRESHOLD = 50_000  # vectors between two writes of the graph; the default writes it each 1,000


class Chroma:
    settings: Sequence[int] = EF

    def build(self, data: Dataset) -> float:
        import chromadb

        self._data = data
        run = [installed("chroma"), "run", "--path", "{directory}/data", "--port", "{port}"]
        self._server = Server([*run, "--host", "127.0.0.1"], ANONYMIZED_TELEMETRY="False")
        client = chromadb.HttpClient(host="127.0.0.1", port=self._server.port)
        self._collection = client.create_collection(
            "clips",
            embedding_function=None,
            configuration={
                "hnsw": {
                    "space": "ip",
                    "max_neighbors": NEIGHBOURS,
                    "ef_construction": EF_CONSTRUCTION,
                    "batch_size": ADDED_AT_ONCE,
                    "sync_threshold": min(SYNC_THRESHOLD, len(data.base)),
                }
            },
        )
        begun = time.perf_counter()
        for start in range(0, len(data.base), ADDED_AT_ONCE):
            block = np.asarray(data.base[start : start + ADDED_AT_ONCE])
            ids = [str(row) for row in range(start, start + len(block))]
            self._collection.add(ids=ids, embeddings=block)
        # The graph takes up what was added when a search first asks for it.
        self._collection.query(query_embeddings=data.queries[:1], n_results=K, include=[])
        return time.perf_counter() - begun

    def use(self, setting: int) -> None:
        self._ef = setting
        self._collection.modify(configuration={"hnsw": {"ef_search": setting}})
        self._server.restart()  # a graph that is loaded keeps the ef that it was loaded with

    def questions(self) -> tuple[Sequence[Any], Ids]:
        path = (
            "/api/v2/tenants/default_tenant/databases/default_database/collections/"
            f"{self._collection.id}/query"
        )
        bodies = (
            {"query_embeddings": [query.tolist()], "n_results": K, "include": []}
            for query in self._data.queries.round(7).astype(float)
        )
        return [post(path, body) for body in bodies], self._data.truth[:, :K]

    def client(self) -> Ask:
        return KeepAlive(self._server.port)

    def rows(self, answer: Any) -> list[int]:
        return [int(one) for one in json.loads(answer)["ids"][0]]

    def chosen(self) -> str:
        return (
            f"float32, max_neighbors {NEIGHBOURS}, ef_construction {EF_CONSTRUCTION}, "
            f"ef_search {self._ef}"
        )

    def processes(self) -> list[int]:
        return self._server.processes

    def close(self) -> None:
        self._server.stop()
