"""Threads search while others add, remove, pack and save: every answer is of some moment."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from index import graph_index, snapshot
from index.exact import ExactIndex
from index.flat import FlatIndex
from index.graph_index import GraphIndex
from index.row_files import RowFiles

DIMENSION, SECONDS = 24, 2.0


@pytest.fixture(autouse=True)
def switch_threads_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("engine", ["flat", "graph"])
def test_searches_beside_adds_and_removes(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100_000, DIMENSION)).astype(np.float32)  # row i has id i + 1
    queries = vectors[:4]
    truth = ExactIndex(DIMENSION)
    truth.add(np.arange(1, len(vectors) + 1), vectors)
    true_similarity = np.empty((len(queries), len(vectors) + 1))
    for row, hits in zip(true_similarity, truth.search(queries, len(vectors)), strict=True):
        row[hits.ids] = hits.similarities

    # Written only by the writer, before or after its call: bounds on what a search may return.
    adding, added, removing, removed = 0, 0, set[int](), set[int]()
    index: FlatIndex | GraphIndex = FlatIndex(DIMENSION, segment_rows=64)
    if engine == "graph":
        monkeypatch.setattr(graph_index, "OPEN", 20)
        monkeypatch.setattr(graph_index, "TAIL", 100)
        adding = added = 200
        first = [(np.arange(1, 201), vectors[:200])]
        index = GraphIndex.build(
            np.zeros(DIMENSION, np.float32), first, make=RowFiles(tmp_path), segment_rows=64
        )
    stop = threading.Event()
    problems: list[str] = []
    counts = dict.fromkeys(("searches", "writes", "saves"), 0)

    def write() -> None:
        nonlocal adding, added
        draw = np.random.default_rng(1)
        while not stop.is_set() and added < len(vectors) - 50:
            adding = added + int(draw.integers(1, 50))
            index.add(np.arange(added + 1, adding + 1), vectors[added:adding])
            added = adding
            gone = draw.integers(1, added + 1, int(draw.integers(1, 60)))
            removing.update(gone.tolist())
            index.remove(gone)
            removed.update(gone.tolist())
            if isinstance(index, FlatIndex) and draw.random() < 0.05:
                index.compact()
            if isinstance(index, GraphIndex) and index.wants_to_grow:
                index.grow()
                counts["growths"] = counts.get("growths", 0) + 1
            counts["writes"] += 1

    def search() -> None:
        draw = np.random.default_rng(threading.get_ident())
        while not stop.is_set():
            dead, present = removed.copy(), added
            filtered = draw.random() < 0.5
            allowed = draw.integers(1, present + 60, 300) if filtered else None
            one = int(draw.integers(len(queries)))
            k = int(draw.choice([10, 10**6])) if engine == "graph" else 10**6
            [hits] = index.search(queries[one : one + 1], k, allowed=allowed)
            going, latest = removing.copy(), adding
            found = set(hits.ids.tolist())
            must = set(range(1, present + 1)) - going
            may = set(range(1, latest + 1)) - dead
            if allowed is not None:
                must, may = must & set(allowed.tolist()), may & set(allowed.tolist())
            if not (must <= found or len(found) == k) or not found <= may:
                problems.append(f"missing {must - found}, phantom {found - may}")
            if len(found) != len(hits.ids):
                problems.append("an id twice in one answer")
            if (hits.similarities != true_similarity[one][hits.ids]).any():
                problems.append("a similarity of another vector")
            if (np.lexsort((hits.ids, -hits.similarities)) != np.arange(len(found))).any():
                problems.append("out of order")
            counts["searches"] += 1

    def save() -> None:
        while not stop.is_set():
            dead, present = removed.copy(), added
            snapshot.save(index, tmp_path, model_digest="m", build=1)
            going, latest = removing.copy(), adding
            loaded, _ = snapshot.load(tmp_path, model_digest="m", dimension=DIMENSION)
            found = set(loaded.ids().tolist())
            if not set(range(1, present + 1)) - going <= found:
                problems.append("a vector is missing from a snapshot")
            if not found <= set(range(1, latest + 1)) - dead:
                problems.append("a removed vector is in a snapshot")
            [hits] = loaded.search(queries[:1], 10**6)
            if (hits.similarities != true_similarity[0][hits.ids]).any():
                problems.append("a similarity of another vector in a snapshot")
            counts["saves"] += 1

    run_until(stop, problems, [write, search, search, search, save])
    assert not problems, problems[:3]
    assert min(counts.values()) > 0, counts


def test_writers_beside_writers() -> None:
    flat = FlatIndex(2, segment_rows=32)
    problems: list[str] = []

    def write(first: int) -> None:
        for turn in range(60):
            ids = first + np.arange(turn * 10, turn * 10 + 10)
            flat.add(ids, np.ones((10, 2), np.float32))
            if flat.remove(ids[::2]) != 5:
                problems.append("another writer's change was lost")

    writers = [threading.Thread(target=write, args=(1 + 1000 * one,)) for one in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert not problems
    kept = [1 + 1000 * one + np.arange(1, 600, 2) for one in range(4)]
    assert flat.ids().tolist() == np.concatenate(kept).tolist()


def run_until(stop: threading.Event, problems: list[str], work: list[Callable[[], None]]) -> None:
    """Each of `work` in a thread for a while, or until one fails."""

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            problems.append(repr(error))
            stop.set()

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not problems:
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
