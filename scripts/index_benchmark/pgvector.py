"""PostgreSQL with pgvector, over its own protocol."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, Vectors
from scripts.index_benchmark.dataset import Dataset, K
from scripts.index_benchmark.libraries import ADDED_AT_ONCE, EF
from scripts.index_benchmark.measure import Ask, descendants

M, EF_CONSTRUCTION = 24, 128
PAGE = 8192  # bytes; a vector of 1024 float32 and its links fill one
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
QUERY = f"SELECT id FROM clips ORDER BY vector <#> $1 LIMIT {K}"  # noqa: S608  # K is a number
BINARY = 1


class Pgvector:
    settings: Sequence[int] = EF

    def build(self, data: Dataset) -> float:
        import psycopg
        from pgserver.postgres_server import get_server

        self._data, self._ef = data, EF[0]
        self._temporary = tempfile.TemporaryDirectory()
        directory = Path(self._temporary.name) / "postgres"
        self._server = get_server(directory, cleanup_mode="stop")
        pages = max(1 << 28, PAGE * len(data.base)) >> 20  # MB of the index
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for setting in (
                f"shared_buffers = '{pages * 5 // 4}MB'",  # all of it stays in memory
                f"maintenance_work_mem = '{pages}MB'",  # and is built there, which is faster
                f"max_parallel_maintenance_workers = {os.cpu_count()}",
                "max_wal_size = '16GB'",
                "synchronous_commit = off",
            ):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        self._restart()
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            dimension = data.base.shape[1]
            connection.execute(
                f"CREATE TABLE clips (id bigint NOT NULL, vector vector({dimension}))".encode()
            )
            connection.execute("ALTER TABLE clips ALTER vector SET STORAGE PLAIN")
            begun = time.perf_counter()
            with connection.cursor().copy("COPY clips FROM STDIN (FORMAT binary)") as copy:
                copy.write(COPY_HEAD)
                for start in range(0, len(data.base), ADDED_AT_ONCE):
                    copy.write(copied(start, data.base[start : start + ADDED_AT_ONCE]))
                copy.write(COPY_END)
            connection.execute(
                "CREATE INDEX ON clips USING hnsw (vector vector_ip_ops) "
                f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})".encode()
            )
            connection.execute("ANALYZE clips")
            return time.perf_counter() - begun

    def _restart(self) -> None:
        from pgserver.postgres_server import get_server

        directory = self._server.pgdata
        self._server.cleanup()
        self._server = get_server(directory, cleanup_mode="stop")

    def use(self, setting: int) -> None:
        self._ef = setting

    def questions(self) -> tuple[Sequence[Any], Ids]:
        return [sent(query) for query in self._data.queries], self._data.truth[:, :K]

    def client(self) -> Ask:
        import psycopg

        connection = psycopg.connect(self._server.get_uri(), autocommit=True)
        connection.execute(f"SET hnsw.ef_search = {self._ef}".encode())
        connection.execute("SET enable_seqscan = off")
        row = connection.execute("SELECT 'vector'::regtype::oid").fetchone()
        assert row is not None
        low = connection.pgconn  # psycopg's own execute takes longer than the search
        low.prepare(b"nearest", QUERY.encode(), [row[0]])

        def ask(request: bytes) -> Any:
            assert connection.pgconn is low  # a connection that nobody holds is closed
            return low.exec_prepared(b"nearest", [request], [BINARY], BINARY)

        return ask

    def rows(self, answer: Any) -> list[int]:
        if answer.error_message:
            raise RuntimeError(answer.error_message.decode(errors="replace"))
        return [int.from_bytes(answer.get_value(at, 0), "big") for at in range(answer.ntuples)]

    def chosen(self) -> str:
        return f"float32, m {M}, ef_construction {EF_CONSTRUCTION}, ef_search {self._ef}"

    def processes(self) -> list[int]:
        postmaster = self._server.get_pid()
        assert postmaster is not None
        return descendants(postmaster)

    def close(self) -> None:
        self._server.cleanup()
        self._temporary.cleanup()


def sent(vector: Vectors) -> bytes:
    """A vector (D,) as pgvector receives it."""
    return len(vector).to_bytes(2, "big") + bytes(2) + vector.astype(">f4").tobytes()


def copied(start: int, vectors: Vectors) -> bytes:
    """Rows (id, vector) in COPY's binary format, their ids from `start` on."""
    count, dimension = vectors.shape
    row = np.dtype(
        [
            ("fields", ">i2"),
            ("id_bytes", ">i4"),
            ("id", ">i8"),
            ("vector_bytes", ">i4"),
            ("dimension", ">i2"),
            ("unused", ">i2"),
            ("vector", ">f4", (dimension,)),
        ]
    )
    rows: NDArray[np.void] = np.zeros(count, row)
    rows["fields"], rows["id_bytes"], rows["vector_bytes"] = 2, 8, 4 + 4 * dimension
    rows["id"], rows["dimension"] = np.arange(start, start + count), dimension
    rows["vector"] = vectors
    return rows.tobytes()
