"""Threads of one search."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import faiss

THREADS: Final = int(faiss.omp_get_max_threads())

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _started() -> ThreadPoolExecutor:
    """With all of its threads: they have the priority of who starts them, which is not to be that
    of maintenance."""
    pool, met = ThreadPoolExecutor(THREADS, "search"), threading.Barrier(THREADS)
    for waiting in [pool.submit(met.wait) for _ in range(THREADS)]:
        waiting.result()
    return pool


_pool: Final = _started()


@contextlib.contextmanager
def omp_threads(count: int) -> Iterator[None]:
    """FAISS takes as many threads of OpenMP's for what this one asks for. With 1, a search never
    waits for another thread, for which one query has no use, where the cores are busy."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def side_by_side(work: Callable[[_In], _Out], parts: Sequence[_In]) -> list[_Out]:
    """The work of each part (at least one), in their order, on all cores: for what takes one of
    them long, and FAISS leaves to one where there is one query."""

    def alone(part: _In) -> _Out:
        with omp_threads(1):
            return work(part)

    first, *others = parts
    waited_for = [_pool.submit(alone, part) for part in others]
    return [alone(first), *(one.result() for one in waited_for)]
