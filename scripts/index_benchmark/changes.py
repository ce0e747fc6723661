"""Searches beside adds and deletes, in process."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, VectorIndex, Vectors
from scripts.index_benchmark.compare import give_back_memory
from scripts.index_benchmark.dataset import Dataset, K, first, similarities
from scripts.index_benchmark.measure import Memory, machine, table
from scripts.index_benchmark.ours import built

QUERIES = 100  # with a similarity to every vector each: 400 MB at 1,000,000
JUDGED = 1000  # answers whose recall is taken
ROUNDING = 1e-5  # between the float32 of brute force here and the index's similarities
AT_ONCE = 1000  # ids of one call to remove
COMPACTION_SECONDS = 300.0


def adds(data: Dataset, seconds: float, rate: float) -> None:
    """Search time without and with `rate` adds a second, and recall among what is stored then."""
    print(machine() + "\n", flush=True)
    queries, last = data.queries[:QUERIES], len(data.base)
    stored = last - int(seconds * rate)
    if stored < K:
        raise SystemExit(f"{seconds:g} s at {rate:g}/s are more than the {last} vectors")
    index = built(np.asarray(data.base[:stored]))
    similarity = similarities(data.base, index.mean, queries)
    progress = Adding(index, data.base, stored, rate)
    idle = searched(index, queries, progress, seconds)
    progress.start()
    loaded = searched(index, queries, progress, seconds)
    progress.stop()
    after = searched(index, queries, progress, min(seconds, 10.0))
    rows = [
        _searches("idle", idle, similarity),
        _searches(f"{progress.rate:.0f} adds/s", loaded, similarity),
        _searches("after", after, similarity),
    ]
    print(table(("while", "stored", "searches", "recall@10", "p50", "p99", "longest"), rows))
    ratio = np.percentile(loaded.milliseconds, 99) / np.percentile(idle.milliseconds, 99)
    print(
        f"\np99 is {ratio:.2f} times the idle one; the longest add took {progress.longest:.1f} ms"
    )


class Adding(threading.Thread):
    """Adds the rows from `stored` on, one at a time, each when it is due."""

    def __init__(self, index: VectorIndex, base: Vectors, stored: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.stored = stored  # rows that a search which begins now must see
        self.longest = 0.0  # ms
        self.rate = rate  # then what was reached
        self._index, self._base = index, base
        self._over = threading.Event()

    def run(self) -> None:
        first_row, begun = self.stored, time.perf_counter()
        for row in range(first_row, len(self._base)):
            wait = begun + (row - first_row) / self.rate - time.perf_counter()
            if self._over.wait(max(0.0, wait)):
                break
            started = time.perf_counter()
            self._index.add(np.array([row + 1]), np.asarray(self._base[row : row + 1]))
            self.longest = max(self.longest, (time.perf_counter() - started) * 1000)
            self.stored = row + 1
        self.rate = (self.stored - first_row) / (time.perf_counter() - begun)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Searched:
    """Answers of one stretch of time."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self.answers: list[tuple[int, int, Ids]] = []  # query, rows stored when it began, rows

    def recall(self, similarity: NDArray[np.float32]) -> float:
        """Share of answered rows that are as near as the true K nearest when the search began.

        Rows that were added while it ran may be among them.
        """
        step = max(1, len(self.answers) // JUDGED)
        right = judged = 0
        for query, stored, rows in self.answers[::step]:
            known = similarity[query, :stored]
            floor = known[first(known, K)[-1]] - ROUNDING
            right += int((similarity[query, rows] >= floor).sum())
            judged += K
        return right / judged


def searched(index: VectorIndex, queries: Vectors, adding: Adding, seconds: float) -> Searched:
    """One thread that searches without a pause."""
    found, begun, turn = Searched(), time.perf_counter(), 0
    while (started := time.perf_counter()) < begun + seconds:
        stored, query = adding.stored, turn % len(queries)
        [hits] = index.search(queries[query : query + 1], K)
        found.milliseconds.append((time.perf_counter() - started) * 1000)
        found.answers.append((query, stored, hits.ids - 1))
        turn += 1
    return found


def _searches(title: str, found: Searched, similarity: NDArray[np.float32]) -> list[str]:
    p50, p99 = np.percentile(found.milliseconds, [50, 99])
    return [
        title,
        f"{found.answers[-1][1]:,}",
        f"{len(found.answers):,}",
        f"{found.recall(similarity):.4f}",
        f"{p50:.2f} ms",
        f"{p99:.2f} ms",
        f"{max(found.milliseconds):.1f} ms",
    ]


def deletes(data: Dataset, share: float) -> None:
    """Remove a share of the vectors at random; what is returned, recall and memory after it."""
    print(machine() + "\n", flush=True)
    n, queries = len(data.base), data.queries[:QUERIES]
    index = built(data.base)
    similarity = similarities(data.base, index.mean, queries)
    give_back_memory()
    rows = [_state("before", index, queries, similarity)]
    held = index.memory_bytes
    gone = np.random.default_rng(3).permutation(n)[: round(n * share)]
    returned, took = 0, []
    for start in range(0, len(gone), AT_ONCE):
        begun = time.perf_counter()
        index.remove(gone[start : start + AT_ONCE] + 1)
        took.append((time.perf_counter() - begun) * 1000)
        query = queries[start // AT_ONCE % QUERIES][np.newaxis]
        [hits] = index.search(query, 10 * K)
        returned += int(np.isin(hits.ids - 1, gone[: start + AT_ONCE]).sum())
    similarity[:, gone] = -np.inf
    rows.append(_state("after", index, queries, similarity))
    begun, wanted = time.perf_counter(), held * (1 - share) * 1.1
    while index.memory_bytes > wanted and time.perf_counter() < begun + COMPACTION_SECONDS:
        time.sleep(0.1)
    waited = time.perf_counter() - begun
    give_back_memory()
    rows.append(_state(f"compacted ({waited:.1f} s)", index, queries, similarity))
    for query in queries:
        [hits] = index.search(query[np.newaxis], 10 * K)
        returned += int(np.isin(hits.ids - 1, gone).sum())
    print(table(("when", "stored", "index", "RssAnon", "recall@10"), rows))
    print(f"\n{len(gone):,} removed, {AT_ONCE} a call: {sum(took) / 1000:.2f} s, the longest call")
    print(f"{max(took):.1f} ms; removed ones returned by a search afterwards: {returned}")


def _state(
    title: str, index: VectorIndex, queries: Vectors, similarity: NDArray[np.float32]
) -> list[str]:
    right = 0
    for query, known in zip(queries, similarity, strict=True):
        [hits] = index.search(query[np.newaxis], K)
        right += len(set((hits.ids - 1).tolist()) & set(first(known, K).tolist()))
    return [
        title,
        f"{len(index):,}",
        f"{index.memory_bytes / 1e6:,.0f} MB",
        f"{Memory.of([os.getpid()]).anonymous - similarity.nbytes / 1e6:,.0f} MB",
        f"{right / (K * len(queries)):.4f}",
    ]
