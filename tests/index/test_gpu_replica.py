"""What a GPU has a part in is answered as without it, or by the index alone."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from cpu_device import CpuDevice
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from machine import DIMENSION, Library, lower_thresholds

from index import gpu_forms, gpu_replica
from index.contract import Hits, Ids, VectorIndex, Vectors
from index.cosine import directions
from index.exact import ExactIndex
from index.flat import FlatIndex
from index.gpu import MAX_K, find_gpu
from index.gpu_replica import GpuReplica
from index.gpu_search import GpuSearch
from index.graph_index import GraphIndex

N, D = 3000, 48
LISTS_ONLY = 300_000  # bytes: too few for N rows in full, enough for their main axes


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_forms, "ROOM", 0)
    monkeypatch.setattr(gpu_forms, "PART_BYTES", 2 * D * 500)
    monkeypatch.setattr(gpu_replica, "NEW", 20)
    monkeypatch.setattr(GpuReplica, "_quicker_from", lambda self, queries: 1)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """(N + 500, D), in clusters, with few axes that matter; row i has id i + 1."""
    rng = np.random.default_rng(3)
    places = rng.standard_normal((60, 12))[rng.integers(0, 60, N + 500)]
    places += 0.6 * rng.standard_normal(places.shape)
    noise = 0.05 * rng.standard_normal((N + 500, D))
    found: Vectors = (places @ rng.standard_normal((12, D)) + noise + 2).astype(np.float32)
    return found


@pytest.fixture
def master(vectors: Vectors) -> GraphIndex:
    return graph_of(vectors)


def ask(search: GpuSearch, index: VectorIndex, queries: Vectors, k: int) -> list[Hits] | None:
    return search.search(index, directions(queries, index.mean), k)


def graph_of(vectors: Vectors) -> GraphIndex:
    blocks = [(np.arange(1, N + 1), vectors[:N])]
    return GraphIndex.build(vectors.mean(axis=0), blocks, segment_rows=700)


def exact_of(master: GraphIndex, vectors: Vectors) -> ExactIndex:
    exact = ExactIndex(D, master.mean)
    ids = master.ids()
    exact.add(ids, vectors[ids - 1])
    return exact


def check(found: list[Hits] | None, exact: ExactIndex, queries: Vectors, k: int) -> float:
    """True similarities, in order, as many as there are; returns the recall."""
    assert found is not None
    expected = exact.search(queries, k)
    right = there = 0
    for query, one, other in zip(queries, found, expected, strict=True):
        [true] = exact.search(query[np.newaxis], len(exact), allowed=one.ids)
        assert one.ids.tolist() == true.ids.tolist()
        assert one.similarities.tolist() == true.similarities.tolist()
        assert len(one.ids) == len(other.ids)
        right += int((one.similarities >= other.similarities[-1]).sum())
        there += len(other.ids)
    return right / there


@pytest.mark.parametrize(("free", "kind"), [(1 << 40, "flat"), (LISTS_ONLY, "lists")])
def test_a_replica_finds_what_the_reference_finds(
    free: int, kind: str, master: GraphIndex, vectors: Vectors
) -> None:
    search = GpuSearch(CpuDevice(free), threading.Event())
    search.follow(master)
    replica = search._replica
    assert replica is not None
    assert replica.kind == kind
    queries = vectors[N : N + 300]
    least = 0.999 if kind == "flat" else 0.99
    assert check(ask(search, master, queries, 10), exact_of(master, vectors), queries, 10) > least

    gone = np.arange(1, N, 17)
    master.remove(gone)
    master.add(np.arange(N + 1, N + 101), vectors[N : N + 100])
    assert check(ask(search, master, queries, 10), exact_of(master, vectors), queries, 10) > least
    search.follow(master)
    assert search._replica is replica  # extended: less than a tenth has changed
    with_more = ask(search, master, queries, 10)
    assert check(with_more, exact_of(master, vectors), queries, 10) > least
    assert with_more is not None
    assert [hits.ids[0] for hits in with_more[:100]] == list(range(N + 1, N + 101))

    master.remove(np.arange(2, N, 17))
    search.follow(master)
    assert search._replica is not replica  # made anew
    assert check(ask(search, master, queries, 10), exact_of(master, vectors), queries, 10) > least


def test_lists_are_looked_at_until_enough_is_found(vectors: Vectors) -> None:
    master = graph_of(vectors)
    replica = GpuReplica.make(master, CpuDevice(LISTS_ONLY), threading.Event())
    chosen = replica._form._index.nprobe  # type: ignore[union-attr]
    assert chosen in (*gpu_replica.LISTS, N // gpu_forms.ROWS_A_LIST)
    replica._form.look_at(1)  # type: ignore[union-attr]
    assert replica.search(directions(vectors[N:], master.mean), 10) is None  # one has too few


def test_rows_around_a_query_that_were_removed_hide_no_others(
    master: GraphIndex, vectors: Vectors
) -> None:
    search = GpuSearch(CpuDevice(), threading.Event())
    search.follow(master)
    query = vectors[N : N + 1]
    [near] = master.search(query, N, exact=True)
    master.remove(near.ids[:250])
    master.add(np.arange(N + 2, N + 12), vectors[N + 1 : N + 11])  # are there to be found instead
    found = ask(search, master, query, 60)
    assert check(found, exact_of(master, vectors), query, 60) > 0.999
    master.remove(near.ids[:2100])
    assert ask(search, master, query, 60) is None  # more than the GPU can look past


def test_more_than_a_gpu_can_choose_is_left_to_the_index(
    master: GraphIndex, vectors: Vectors
) -> None:
    search = GpuSearch(CpuDevice(), threading.Event())
    search.follow(master)
    for k in (MAX_K - gpu_replica.SPARE + 1, N + 1, 0, -1):
        assert ask(search, master, vectors[:1], k) is None
    found = ask(search, master, vectors[:1], MAX_K - gpu_replica.SPARE)
    assert check(found, exact_of(master, vectors), vectors[:1], MAX_K - gpu_replica.SPARE) == 1


def test_calls_that_the_index_answers_sooner_are_left_to_it(
    master: GraphIndex, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(gpu_forms, "ROOM", 0)
    device = CpuDevice()
    device.seconds = 0.1
    search = GpuSearch(device, threading.Event())
    search.follow(master)
    before = device.searches
    assert ask(search, master, vectors[:1], 10) is None
    assert device.searches == before
    assert ask(search, master, vectors[:1000], 10) is not None


def test_another_index_is_answered_by_itself_until_it_is_copied(vectors: Vectors) -> None:
    search = GpuSearch(CpuDevice(), threading.Event())
    first, second = graph_of(vectors), graph_of(vectors[::-1].copy())
    search.follow(first)
    assert ask(search, second, vectors[:1], 3) is None
    search.follow(second)
    assert ask(search, first, vectors[:1], 3) is None
    assert ask(search, second, vectors[:1], 3) is not None


def test_small_libraries_need_no_gpu(vectors: Vectors) -> None:
    device = CpuDevice()
    search = GpuSearch(device, threading.Event())
    small = FlatIndex(D)
    small.add(np.arange(1, 101), vectors[:100])
    search.follow(small)
    assert not search.in_use
    assert ask(search, small, vectors[:5], 3) is None
    assert device.searches == 0


@pytest.mark.parametrize("call", ["nothing fits", "train", "add", "search"])
def test_short_memory_is_told_once_and_the_index_goes_on(
    call: str, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    device = CpuDevice(LISTS_ONLY if call == "train" else 1 << 40)
    search = GpuSearch(device, threading.Event())
    master = graph_of(vectors)
    if call in ("nothing fits", "train"):
        device.free, device.fails = min(device.free, LISTS_ONLY * (call == "train")), call
    search.follow(master)
    device.fails = call
    master.add(np.arange(N + 1, N + 51), vectors[N : N + 50])
    for _ in range(3):
        with ThreadsThat(lambda: ask(search, master, vectors[:4], 10)):
            search.follow(master)
    assert not search.in_use
    assert ask(search, master, vectors[:4], 10) is None
    told = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == 1
    assert "without the GPU" in told[0].getMessage()

    device.free, device.fails = 1 << 40, ""
    search.follow(master)
    assert not search.in_use  # until it is built anew
    again = graph_of(vectors)
    search.follow(again)
    queries = vectors[N:]
    assert check(ask(search, again, queries, 10), exact_of(again, vectors), queries, 10) > 0.999


class ThreadsThat:
    """Four of them do something while the block runs; what one raises, leaving it raises."""

    def __init__(self, do: object) -> None:
        self._failed: list[BaseException] = []
        together = threading.Barrier(4)

        def guarded() -> None:
            try:
                together.wait(10)
                do()  # type: ignore[operator]
            except BaseException as exc:
                self._failed.append(exc)

        self._threads = [threading.Thread(target=guarded) for _ in range(4)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]


class SetSoon(threading.Event):
    """Is set when it was asked about three times."""

    asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > 3


def test_a_stop_ends_the_copying(master: GraphIndex, vectors: Vectors) -> None:
    search = GpuSearch(CpuDevice(), SetSoon())
    search.follow(master)
    assert search._replica is not None
    assert 0 < search._replica._covered < N
    found = ask(search, master, vectors[:3], 5)  # the rest from the CPU
    assert check(found, exact_of(master, vectors), vectors[:3], 5) == 1
    other = graph_of(vectors)
    search.follow(other)
    assert not search.in_use


def test_searches_beside_changes(master: GraphIndex, vectors: Vectors) -> None:
    """What was there before a search is found, what was gone before is not, whatever happens."""
    search = GpuSearch(CpuDevice(), threading.Event())
    search.follow(master)
    added, gone = [N], set[int]()
    done, searched = threading.Event(), threading.Event()
    answered = Counter[bool]()

    def change() -> None:
        draw = np.random.default_rng(1)
        try:
            while added[0] < N + 480:
                more = np.arange(added[0] + 1, added[0] + 9)
                master.add(more, vectors[more - 1])
                added[0] = int(more[-1])
                some = draw.integers(1, N, 2)
                master.remove(some)
                gone.update(some.tolist())
                search.follow(master)
                searched.wait(10)
                searched.clear()
        finally:
            done.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not done.is_set():
        newest, dead = added[0], gone.copy()
        found = ask(search, master, vectors[newest - 1 : newest], 10)
        answered[found is not None] += 1
        for hits in found or master.search(vectors[newest - 1 : newest], 10):
            assert int(hits.ids[0]) == newest or newest in gone
            assert not dead & set(hits.ids.tolist())
        searched.set()
    thread.join()
    assert added[0] == N + 480
    assert answered[True] > 10, answered


def test_a_gpu_is_looked_for_only_where_it_may_be() -> None:
    assert find_gpu("cpu") is None
    assert find_gpu("cuda:4711") is None


class LibraryWithGpu(Library):
    """As Library, and each search without filters is also put to a replica."""

    seen: ClassVar[Counter[str]] = Counter()

    def use(self, engine: object) -> None:
        if not hasattr(self, "device"):
            self.device = CpuDevice()
            self.gpu = GpuSearch(self.device, threading.Event())
        self.device.free = int(self.draw.choice([2_000, 1 << 40]))  # lists or flat
        super().use(engine)  # type: ignore[arg-type]

    def look_around(self) -> None:
        self.replicate()
        self.search(3, 7, False)
        super().look_around()

    @rule()
    def replicate(self) -> None:
        before = self.gpu._replica
        self.gpu.follow(self.engine)
        self.seen["made" if self.gpu._replica is not before else "followed"] += 1

    @rule(k=st.integers(1, 12), rows=st.lists(st.integers(0, 399), min_size=1, max_size=5))
    def search_many(self, k: int, rows: list[int]) -> None:
        self.compare(self.pool[rows], k, None, None)

    def compare(self, queries: Vectors, k: int, allowed: Ids | None, excluded: Ids | None) -> None:
        super().compare(queries, k, allowed, excluded)
        found = ask(self.gpu, self.engine, queries, k) if allowed is None else None
        if found is None:
            return
        for query, one, other in zip(queries, found, self.exact.search(queries, k), strict=True):
            self.compare_hits(query, one, other)
            self.seen["search of " + self.gpu._replica.kind] += 1  # type: ignore[union-attr]


def test_a_gpu_agrees_with_the_reference_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_thresholds(monkeypatch)
    monkeypatch.setattr(gpu_replica, "NEW", 5)
    monkeypatch.setattr(gpu_forms, "PART_BYTES", 2 * DIMENSION * 40)
    monkeypatch.setattr(gpu_forms, "ROWS_A_LIST", 4)
    monkeypatch.setattr(gpu_forms, "LIST_SLACK", 0.01)
    LibraryWithGpu.seen.clear()
    LibraryWithGpu.found = LibraryWithGpu.there = 0
    run_state_machine_as_test(
        LibraryWithGpu,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    seen = LibraryWithGpu.seen
    for what in ("made", "followed", "search of flat", "search of lists"):
        assert seen[what] >= 50, seen
    assert LibraryWithGpu.found >= 0.99 * LibraryWithGpu.there
