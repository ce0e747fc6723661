"""Queries unlike the clips that the index was built for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index.build import Engine
from index.contract import Vectors
from scripts.index_benchmark.dataset import Dataset, K, centred
from scripts.index_benchmark.measure import closed_loop, table

QUERIES = 100
COLUMNS = ("query", "recall@10", "p50", "p99")


def in_process(data: Dataset, index: Engine, seconds: float) -> str:
    """A table of searches by directions, one thread; recall against the exact search."""
    rows = []
    for title, asked in _queries(data, index.mean).items():

        def ask(at: int, asked: Vectors = asked) -> list[int]:
            [hits] = index.search_directions(asked[at : at + 1], K)
            return [int(one) for one in hits.ids]

        nearest = index.search_directions(asked, K, exact=True)
        right = sum(len(set(ask(at)) & set(one.ids.tolist())) for at, one in enumerate(nearest))
        times = closed_loop(lambda one=ask: one, range(QUERIES), clients=1, seconds=seconds)  # type: ignore[misc]
        rows.append(
            [
                title,
                f"{right / (K * QUERIES):.4f}",
                f"{times.percentile(50):.2f} ms",
                f"{times.percentile(99):.2f} ms",
            ]
        )
    return table(COLUMNS, rows)


def _queries(data: Dataset, mean: NDArray[np.float32]) -> dict[str, Vectors]:
    rng = np.random.default_rng(2)

    def clips() -> Vectors:
        rows = np.sort(rng.integers(0, len(data.base), QUERIES))
        return rng.permutation(centred(np.asarray(data.base[rows]), mean))

    def unit(vectors: NDArray[np.floating]) -> Vectors:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / lengths, np.float32)

    some = [clips() for _ in range(5)]
    return {
        "a clip": some[0],
        "the mean of two": unit(some[0] + some[1]),
        "the mean of five": unit(np.sum(some, axis=0)),
        "one less half another": unit(some[0] - some[1] / 2),
        "the opposite of one": -some[0],
        "any direction": unit(rng.standard_normal(some[0].shape)),
    }
