"""Milvus Lite's server, over gRPC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from index.contract import Ids
from scripts.index_benchmark.dataset import Dataset, K
from scripts.index_benchmark.libraries import EF, EF_CONSTRUCTION, NEIGHBOURS
from scripts.index_benchmark.measure import Ask
from scripts.index_benchmark.server import Server, installed

ADDED_AT_ONCE = 2_000
SEARCH = "/milvus.proto.milvus.MilvusService/Search"


class MilvusLite:
    """One segment with one graph: several would each be searched for every query."""

    settings: Sequence[int] = EF

    def __init__(self, index_type: str) -> None:
        self._index_type = index_type

    def build(self, data: Dataset) -> float:
        from pymilvus import DataType, MilvusClient, MilvusException

        self._data = data
        room = str(max(1 << 28, 3 * data.base.nbytes))
        run = [installed("milvus-lite"), "server", "--data-dir", "{directory}/data"]
        self._server = Server(
            [*run, "--host", "127.0.0.1", "--port", "{port}"],
            MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES=room,
            MILVUS_LITE_WAL_SIZE_LIMIT_BYTES=room,
        )
        self._address = f"127.0.0.1:{self._server.port}"
        client = MilvusClient(uri=f"http://{self._address}")
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=data.base.shape[1])
        client.create_collection("clips", schema=schema)
        begun = time.perf_counter()
        for start in range(0, len(data.base), ADDED_AT_ONCE):
            block = np.asarray(data.base[start : start + ADDED_AT_ONCE])
            rows = [{"id": start + at, "vector": row} for at, row in enumerate(block)]
            client.insert("clips", rows)
        client.flush("clips")
        index = client.prepare_index_params()
        index.add_index(
            "vector",
            index_type=self._index_type,
            metric_type="IP",
            params={"M": NEIGHBOURS, "efConstruction": EF_CONSTRUCTION},
        )
        try:
            client.create_index("clips", index)
        except MilvusException as exc:
            # A long build answers no ping; the client then connects and asks once more.
            if "already exists" not in exc.message:
                raise
        client.load_collection("clips")
        client.search("clips", data.queries[:1], limit=K, anns_field="vector")
        took = time.perf_counter() - begun
        client.close()
        return took

    def use(self, setting: int) -> None:
        self._ef = setting

    def questions(self) -> tuple[Sequence[Any], Ids]:
        from pymilvus.client.prepare import Prepare

        param = {"metric_type": "IP", "params": {"ef": self._ef}}
        requests = [
            Prepare.search_requests_with_expr("clips", "vector", param, K, [query])
            for query in self._data.queries
        ]
        return [one.SerializeToString() for one in requests], self._data.truth[:, :K]

    def client(self) -> Ask:
        import grpc

        options = [("grpc.use_local_subchannel_pool", 1)]  # else channels share a connection
        ask: Ask = grpc.insecure_channel(self._address, options).unary_unary(SEARCH)
        return ask

    def rows(self, answer: Any) -> list[int]:
        from pymilvus.grpc_gen.milvus_pb2 import SearchResults

        found = SearchResults.FromString(answer)
        if found.status.code:
            raise RuntimeError(found.status.reason)
        return list(found.results.ids.int_id.data)

    def chosen(self) -> str:
        return (
            f"{self._index_type}, M {NEIGHBOURS}, efConstruction {EF_CONSTRUCTION}, ef {self._ef}"
        )

    def processes(self) -> list[int]:
        return self._server.processes

    def close(self) -> None:
        self._server.stop()
