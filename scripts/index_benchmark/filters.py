"""Search through filters of every selectivity, in process and over HTTP."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.build import Engine
from index.contract import Ids
from scripts.index_benchmark import unlike
from scripts.index_benchmark.attributes import KINDS, QUERIES, Attributes, Kind, offered
from scripts.index_benchmark.dataset import Dataset, K, first, similarities
from scripts.index_benchmark.measure import (
    Ask,
    KeepAlive,
    Memory,
    Times,
    closed_loop,
    get,
    machine,
    table,
)
from scripts.index_benchmark.ours import built
from scripts.index_benchmark.service import Service, rows_of

COLUMNS = ("filter", "clips let through", "matches", "recall@10", "too few", "p50", "p99")
LIBRARY: dict[Kind, str] = {"min_confidence": "at random", "tag": "far from the query"}


def in_process(data: Dataset, seconds: float) -> None:
    """The library's search without and with `allowed`, one thread, the query's own clip kept out;
    then with queries unlike any clip."""
    print(machine() + "\n", flush=True)
    begun = time.perf_counter()
    index = built(data.base)
    took = time.perf_counter() - begun
    memory = Memory.of([os.getpid()]).anonymous
    print(f"{index.kind} built in {took:.1f} s, RssAnon {memory:,.0f} MB\n", flush=True)
    said = Attributes.of(data.base)
    rows = [_unfiltered(data, index, said.query_rows("min_confidence"), seconds)]
    for kind, title in LIBRARY.items():
        asked = said.query_rows(kind)
        similarity = _similarity(data, index.mean, asked)
        for percent in offered(kind):
            through = said.rows(kind, percent)

            def ask(row: int, allowed: Ids = through + 1) -> list[int]:
                query = np.asarray(data.base[row : row + 1])
                excluded = np.array([row + 1])
                [hits] = index.search(query, K, allowed=allowed, excluded=excluded)
                return [int(one) - 1 for one in hits.ids]

            answers = [ask(row) for row in asked.tolist()]
            times = closed_loop(lambda one=ask: one, asked.tolist(), clients=1, seconds=seconds)  # type: ignore[misc]
            rows.append(_row(title, percent, through, similarity, answers, times))
    print(table(COLUMNS, rows))
    print("\n" + unlike.in_process(data, index, seconds))


def _unfiltered(data: Dataset, index: Engine, asked: Ids, seconds: float) -> list[str]:
    def ask(row: int) -> list[int]:
        [hits] = index.search(np.asarray(data.base[row : row + 1]), K + 1)
        return [int(one) - 1 for one in hits.ids if one != row + 1][:K]

    answers = [ask(row) for row in asked.tolist()]
    times = closed_loop(lambda: ask, asked.tolist(), clients=1, seconds=seconds)
    similarity = _similarity(data, index.mean, asked)
    return _row("none", 100, np.arange(len(data.base)), similarity, answers, times)


def over_http(data: Dataset, service: Service, seconds: float) -> str:
    """A table of `similar` with each filter, one client."""
    said = Attributes.of(data.base)
    mean = service.mean(data.base)
    client: Callable[[], Ask] = lambda: KeepAlive(service.port)  # noqa: E731
    rows = []
    for kind in KINDS:
        asked = said.query_rows(kind)
        similarity = _similarity(data, mean, asked)
        for percent in offered(kind):
            through, parameter = said.rows(kind, percent), said.parameter(kind, percent)
            requests = [get(f"/api/v1/clips/{row + 1}/similar?k={K}&{parameter}") for row in asked]
            with contextlib.closing(KeepAlive(service.port)) as ask:
                answers = [rows_of(ask(request)) for request in requests]
            times = closed_loop(client, requests, clients=1, seconds=seconds)
            rows.append(_row(kind, percent, through, similarity, answers, times))
    return table(COLUMNS, rows)


def _similarity(data: Dataset, mean: NDArray[np.float32], asked: Ids) -> NDArray[np.float32]:
    """(q, n) of stored clips with all, −inf with themselves."""
    found = similarities(data.base, mean, np.asarray(data.base[asked]))
    found[np.arange(len(asked)), asked] = -np.inf
    return found


def _row(
    title: str,
    percent: float,
    through: Ids,
    similarity: NDArray[np.float32],
    answers: list[list[int]],
    times: Times,
) -> list[str]:
    wanted = right = short = 0
    for row, got in zip(similarity, answers, strict=True):
        some = row[through]
        matching = int((some > -np.inf).sum())
        truth = through[first(some, min(K, matching))] if matching else through[:0]
        wanted += len(truth)
        right += len(set(got) & set(truth.tolist()))
        short += len(got) < min(K, matching)
    return [
        title,
        f"{percent:g} %",
        f"{len(through):,}",
        f"{right / max(1, wanted):.4f}" if wanted else "nothing to find",
        f"{short} of {QUERIES}",
        f"{times.percentile(50):.2f} ms",
        f"{times.percentile(99):.2f} ms",
    ]
