"""Searches beside adds, a rebuild and deletes, in the library's layer."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.cli.serve import SWITCH_SECONDS
from app.cli.vector_file import BLOCK_BYTES
from app.library import Library
from app.store import clips
from index.contract import Ids, Vectors
from scripts.index_benchmark.compare import give_back_memory
from scripts.index_benchmark.dataset import Dataset, K, first, similarities
from scripts.index_benchmark.live import Adding, library, settle
from scripts.index_benchmark.measure import Memory, machine, table

QUERIES = 100  # with a similarity to every vector each: 400 MB at 1,000,000
JUDGED = 1000  # answers whose recall is taken
ROUNDING = 1e-5  # between the float32 of brute force here and the index's similarities
AT_ONCE = 1000  # clips of one deletion


def adds(
    data: Dataset, model: str | None, seconds: float, rate: float, block: int | None = None
) -> None:
    """Search time alone, beside `rate` vectors a second that are imported, and beside a rebuild,
    with the recall among what is stored then. A `block` of rows is imported at a time, as many
    as by `emoseek import-vectors` unless told."""
    print(machine() + "\n", flush=True)
    sys.setswitchinterval(SWITCH_SECONDS)  # as the service does
    block = block or max(1, BLOCK_BYTES // (4 * data.base.shape[1]))
    queries, stored = data.queries[:QUERIES], len(data.base) - int(seconds * rate)
    if stored < K:
        raise SystemExit(f"{seconds:g} s at {rate:g}/s are more than the {len(data.base)} vectors")
    with library(data, stored, model) as live:
        progress = Adding(live, data.base, stored, rate, block)
        built = live.index.build
        idle = searched(live, queries, progress, lambda: seconds_are_over(seconds))
        progress.start()
        loaded = searched(live, queries, progress, lambda: seconds_are_over(seconds))
        progress.stop()
        settle(live)
        mean = live.index.mean
        after = searched(live, queries, progress, lambda: seconds_are_over(min(seconds, 10.0)))
        assert live.index.build == built, "the upkeep built anew: measure with fewer adds"
        similarity = similarities(data.base, mean, queries)
        rebuild = threading.Thread(target=live.index.rebuild)
        rebuild.start()
        beside = searched(live, queries, progress, lambda: lambda: not rebuild.is_alive())
        rebuild.join()
        again = searched(live, queries, progress, lambda: seconds_are_over(min(seconds, 10.0)))
        rebuilt = similarities(data.base, live.index.mean, queries)
    rows = [
        _searches("idle", idle, similarity),
        _searches(f"{progress.rate:.0f} adds/s", loaded, similarity),
        _searches("after", after, similarity),
        _searches("beside a rebuild", beside, similarity),
        _searches("rebuilt", again, rebuilt),
    ]
    print(table(("while", "stored", "searches", "recall@10", "p50", "p99", "longest"), rows))
    ratio = np.percentile(loaded.milliseconds, 99) / np.percentile(idle.milliseconds, 99)
    print(f"\np99 beside adds is {ratio:.2f} times the idle one; the longest import of ", end="")
    print(f"{progress.block} took {progress.longest:.1f} ms")


def seconds_are_over(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


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


def searched(
    live: Library, queries: Vectors, adding: Adding, until: Callable[[], Callable[[], bool]]
) -> Searched:
    """One thread that searches without a pause, until `until()()` is true."""
    found, turn, over = Searched(), 0, until()
    while not over():
        stored, query = adding.stored, turn % len(queries)
        started = time.perf_counter()
        current = live.index.current()
        asked = current.directions(queries[query : query + 1])
        [hits] = current.search(asked, K)
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


def deletes(data: Dataset, model: str | None, share: float) -> None:
    """Delete a share of the clips at random; what is returned, recall and memory after it."""
    print(machine() + "\n", flush=True)
    n, queries = len(data.base), data.queries[:QUERIES]
    with library(data, n, model) as live:
        similarity = similarities(data.base, live.index.mean, queries)
        rows = [_state("before", live, queries, similarity)]
        gone = np.random.default_rng(3).permutation(n)[: round(n * share)]
        returned, took = 0, []
        for start in range(0, len(gone), AT_ONCE):
            some = gone[start : start + AT_ONCE] + 1
            begun = time.perf_counter()
            _delete(live, some.tolist())
            took.append((time.perf_counter() - begun) * 1000)
            query = queries[start // AT_ONCE % QUERIES]
            returned += int(np.isin(_found(live, query, 10 * K), gone[: start + AT_ONCE]).sum())
        rows.append(_state("after", live, queries, _without(data, live, queries, gone)))
        waited = settle(live)
        similarity = _without(data, live, queries, gone)
        rows.append(_state(f"compacted ({waited:.1f} s)", live, queries, similarity))
        for query in queries:
            returned += int(np.isin(_found(live, query, 10 * K), gone).sum())
    print(table(("when", "stored", "index", "RssAnon", "recall@10"), rows))
    print(f"\n{len(gone):,} removed, {AT_ONCE} a call: {sum(took) / 1000:.2f} s, the longest call")
    print(f"{max(took):.1f} ms; removed ones returned by a search afterwards: {returned}")


def _delete(live: Library, clip_ids: list[int]) -> None:
    """As `DELETE` of clips that a filter finds does it."""
    with live.store.write() as session:
        clips.remove(session, clip_ids)
    live.index.remove(clip_ids)
    live.filters.remove(clip_ids)


def _without(data: Dataset, live: Library, queries: Vectors, gone: Ids) -> NDArray[np.float32]:
    similarity = similarities(data.base, live.index.mean, queries)
    similarity[:, gone] = -np.inf
    return similarity


def _found(live: Library, query: Vectors, k: int) -> Ids:
    current = live.index.current()
    [hits] = current.search(current.directions(query[np.newaxis]), k)
    return hits.ids - 1


def _state(
    title: str, live: Library, queries: Vectors, similarity: NDArray[np.float32]
) -> list[str]:
    give_back_memory()
    right = sum(
        len(set(_found(live, query, K).tolist()) & set(first(known, K).tolist()))
        for query, known in zip(queries, similarity, strict=True)
    )
    return [
        title,
        f"{len(live.index):,}",
        f"{live.index.memory_bytes / 1e6:,.0f} MB",
        f"{Memory.of([os.getpid()]).anonymous - similarity.nbytes / 1e6:,.0f} MB",
        f"{right / (K * len(queries)):.4f}",
    ]
