"""The vectors that are measured, and the nearest of them by brute force."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, Vectors

GENERATOR = Path(__file__).parents[3] / "shared" / "bench" / "make_vectors.py"
DIMENSION = 1024
BLOCK = 20_000  # rows that brute force looks at together: 80 MB of float32 at 1024 dimensions
K = 10  # neighbours asked for


@dataclasses.dataclass(frozen=True, slots=True)
class Dataset:
    """What the generator wrote; row i of `base` is called i by every engine.

    base (n, D) and queries (q, D) are unit vectors without the mean of `base`; truth (q, 100)
    holds the rows of `base` nearest to each query, nearest first.
    """

    directory: Path
    base: Vectors  # memory-mapped
    queries: Vectors
    truth: Ids

    @classmethod
    def at(cls, directory: Path, n: int | None = None, generator: Path = GENERATOR) -> Self:
        """The vectors in `directory`, which are made there when there are none.

        Raises:
            SystemExit: another number of vectors is there, or none and n was not given.
        """
        if not (directory / "truth.npy").exists():  # written last
            if n is None:
                raise SystemExit(f"{directory} has no vectors; say how many to make there (--n)")
            command = [
                sys.executable,
                str(generator),
                str(directory),
                "--n",
                str(n),
                "--dim",
                str(DIMENSION),
            ]
            subprocess.run(command, check=True, stdout=sys.stderr)
        dataset = cls(
            directory,
            np.load(directory / "base.npy", mmap_mode="r"),
            np.load(directory / "queries.npy"),
            np.load(directory / "truth.npy"),
        )
        if n not in (None, len(dataset.base)):
            raise SystemExit(f"{directory} holds {len(dataset.base)} vectors, not {n}")
        return dataset


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """(n, D) unit vectors without `mean` (D,), in float32."""
    apart = vectors - mean
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    return apart


def similarities(base: Vectors, mean: Vectors, queries: Vectors) -> NDArray[np.float32]:
    """(q, n) cosines of raw queries (q, D) with all of `base` once `mean` is removed."""
    found = np.empty((len(queries), len(base)), np.float32)
    asked = centred(queries, mean)
    for start in range(0, len(base), BLOCK):
        block = centred(np.asarray(base[start : start + BLOCK]), mean)
        found[:, start : start + BLOCK] = asked @ block.T
    return found


def first(similarity: NDArray[np.float32], k: int) -> Ids:
    """Positions of the k largest of (n,) similarities, largest first."""
    some = np.argpartition(-similarity, min(k, len(similarity)) - 1)[:k]
    return some[np.argsort(-similarity[some])]


def nearest(
    base: Vectors, mean: Vectors, queries: Vectors, *, themselves: Ids | None = None
) -> Ids:
    """(q, K) rows of `base` nearest to each query in the space without `mean`.

    Args:
        themselves: (q,) the rows that the queries are, which are not counted.
    """
    answers = np.empty((len(queries), K), np.int64)
    for start in range(0, len(queries), 100):  # 400 MB of similarities at 1,000,000 rows
        some = similarities(base, mean, queries[start : start + 100])
        if themselves is not None:
            own = themselves[start : start + 100]
            some[np.arange(len(own)), own] = -np.inf
        answers[start : start + 100] = [first(row, K) for row in some]
    return answers


def recall(answers: list[list[int]], truth: Ids) -> float:
    """Share of the true K nearest (q, K) that were answered."""
    right = [len(set(got) & set(t)) for got, t in zip(answers, truth.tolist(), strict=True)]
    return sum(right) / truth.size
