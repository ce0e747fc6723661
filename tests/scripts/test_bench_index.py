"""What the figures of scripts/bench_index.py rest on."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from app.domain import ClipFilter, ModelInfo
from app.store import Store, clips, embeddings, models
from scripts import bench_index
from scripts.index_benchmark.attributes import (
    KINDS,
    PERCENT,
    Attributes,
    matches,
    name,
    offered,
)
from scripts.index_benchmark.changes import Searched
from scripts.index_benchmark.dataset import nearest, recall
from scripts.index_benchmark.measure import KeepAlive, get, open_loop, post
from scripts.index_benchmark.ours import built
from scripts.index_benchmark.service import fill

RNG = np.random.default_rng(0)
BASE = (RNG.standard_normal((2000, 16)) + 1).astype(np.float32)


def test_brute_force_agrees_with_the_index() -> None:
    index = built(BASE)
    queries = BASE[:50] + np.float32(0.01)
    answers = [(hits.ids - 1).tolist() for hits in index.search(queries, 10)]
    assert recall(answers, nearest(BASE, index.mean, queries)) == 1.0
    assert recall(answers, nearest(BASE, index.mean, -queries)) < 0.1


def test_a_stored_clip_is_no_neighbour_of_itself() -> None:
    rows = np.arange(50)
    found = nearest(BASE, BASE.mean(0), BASE[rows], themselves=rows)
    assert not (found == rows[:, None]).any()


def test_recall_counts_only_rows_as_near_as_those_stored_when_the_search_began() -> None:
    similarity = np.linspace(1, 0, 100, dtype=np.float32)[None]
    similarity[0, 60:] += 1  # added later, and nearer
    found = Searched()
    found.answers = [(0, 60, np.arange(10)), (0, 60, np.arange(60, 70)), (0, 60, np.arange(5, 15))]
    assert found.recall(similarity) == pytest.approx(25 / 30)


@pytest.mark.parametrize("kind", KINDS)
def test_filters_let_their_share_through(kind: str) -> None:
    said = Attributes.of(BASE)
    for percent in offered(kind):  # type: ignore[arg-type]
        rows = said.rows(kind, percent)  # type: ignore[arg-type]
        assert len(np.unique(rows)) == len(rows) == matches(2000, percent)
    far = BASE[said.rows("tag", 50.0)] @ BASE[0]
    assert far.max() <= np.median(BASE @ BASE[0])


def test_the_filled_database_has_the_vectors_and_the_filters(tmp_path: Path) -> None:
    database = tmp_path / "emoseek.db"
    store = Store(f"sqlite:///{database}")
    store.migrate()
    with store.write() as session:
        model = models.activate(session, ModelInfo("m", "d" * 64, 16, False), np.zeros(16))
    fill(database, BASE)
    said = Attributes.of(BASE)
    with store.read() as session:
        [(ids, vectors)] = embeddings.stream(session, model, [1, 2000])
        assert ids.tolist() == [1, 2000]
        assert np.array_equal(vectors, BASE[[0, 1999]])
        assert len(embeddings.indexable_ids(session, model)) == 2000
        for percent in PERCENT:
            floor = float(said.parameter("min_confidence", percent).partition("=")[2])
            wanted = {
                "min_confidence": ClipFilter(min_confidence=floor),
                "customer_id": ClipFilter(customer_id=name(percent)),
                "tag": ClipFilter(tags=(name(percent),)),
            }
            for kind in KINDS:
                if percent in offered(kind):
                    found = clips.matching_ids(session, wanted[kind]) - 1
                    assert np.array_equal(found, said.rows(kind, percent)), (kind, percent)
    store.close()


def test_waiting_for_a_free_client_counts() -> None:
    def slow(_: object) -> None:
        time.sleep(0.02)

    times = open_loop(lambda: slow, [None], clients=1, rate=1000, seconds=0.02)
    assert len(times.milliseconds) == 20
    assert times.milliseconds[-1] >= 20 * 20 - 20  # nineteen before it, each 20 ms; due at 19 ms


def test_keep_alive_asks_one_connection_again_and_refuses_errors() -> None:
    ports = []

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            body = b"x" * 300_000
            self.send_response(404 if self.path == "/none" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with contextlib.closing(KeepAlive(server.server_port)) as ask:
            assert [len(ask(get("/a"))) for _ in range(2)] == [300_000] * 2
            assert json.loads(ask(post("/b", {"é": 1}))) == {"é": 1}
            with pytest.raises(RuntimeError, match="404"):
                ask(get("/none"))
        assert len(set(ports)) == 1
        server.shutdown()


def test_the_comparison_goes_on_when_an_engine_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unit = BASE - BASE.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.save(tmp_path / "base.npy", unit)
    np.save(tmp_path / "queries.npy", unit[:20])
    np.save(tmp_path / "truth.npy", nearest(unit, np.zeros(16, np.float32), unit[:20]))
    words = ["compare", "--vectors", str(tmp_path), "--seconds", "0.1", "--model", "nowhere"]
    bench_index.main([*words, "--engines", "emoseek-http", "pgvector", "emoseek"])
    printed = capfd.readouterr().out
    assert "emoseek-http could not be measured: SystemExit: the service did not start" in printed
    rows = {line.split()[1]: line for line in printed.splitlines() if line.startswith("| ")}
    assert list(rows) == ["engine", "---", "pgvector", "emoseek"]
    assert "| 1.0000 |" in rows["emoseek"]
    assert "too low" not in rows["pgvector"]


@pytest.mark.parametrize("mode", ["filters", "adds", "deletes"])
def test_nothing_is_missed_or_returned_wrongly(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = BASE if mode == "filters" else np.tile(BASE, 12)  # as long as the model's embeddings
    np.save(tmp_path / "base.npy", base)
    np.save(tmp_path / "queries.npy", base[:100])
    np.save(tmp_path / "truth.npy", np.zeros((100, 100), np.int64))
    bench_index.main([mode, "--vectors", str(tmp_path), "--n", "2000", "--seconds", "0.05"])
    printed = capsys.readouterr().out
    tables = [part.splitlines() for part in printed.split("\n\n") if part.startswith("| ")]
    assert len(tables) == (2 if mode == "filters" else 1)
    for title, _, *rows in tables:
        columns = title.strip(" |").split(" | ")
        column = columns.index("recall@10") if "recall@10" in columns else -1
        recalls = [row.strip(" |").split(" | ")[column] for row in rows]
        assert set(recalls) == {"1.0000"}, printed
    if mode == "deletes":
        assert "returned by a search afterwards: 0" in printed
