"""The mean that is removed before the cosine, and when a build has outgrown its own.

Utterance embeddings share a large common part: raw cosines of unlike clips are above 0.9. The
library's own mean removes it, but is poor while the library is small: with two clips it lies
between them and makes every similarity -1.
"""

import numpy as np
from numpy.typing import NDArray

from index.contract import Vectors
from index.cosine import blocks, checked_vectors
from index.errors import WrongDimension

PRIOR_WEIGHT = 30.0  # clips that the prior counts for: at 30 stored clips each has half a say
SETTLED_SIZE = 10_000  # clips; from here the mean moves a cosine by about 1 / size, below 1e-4
DRIFT = 0.001  # of a mean, from which one in a hundred of the ten nearest is another
CHANCE = 3.0  # over the size: a drift that is hardly chance, which with half as many again is 0.5


class RunningMean:
    """Mean of embeddings that come in blocks, without holding them."""

    def __init__(self, dimension: int) -> None:
        self._sum = np.zeros(dimension)  # float64: exact enough for 1e9 float32 vectors
        self.count = 0

    def add(self, vectors: Vectors) -> None:
        """Count these embeddings (n, D) in.

        Raises:
            WrongDimension, NotFinite
        """
        self._sum += _sum(checked_vectors(vectors, len(self._sum)))
        self.count += len(vectors)

    def remove(self, vectors: Vectors) -> None:
        """Count these embeddings (n, D), counted in before, out again.

        Raises:
            WrongDimension, NotFinite
        """
        self._sum -= _sum(checked_vectors(vectors, len(self._sum)))
        self.count -= len(vectors)

    def mean(self) -> NDArray[np.float64]:
        """(D,), zeros while nothing is counted."""
        return self._sum / max(self.count, 1)


def shrunk_mean(
    mean: NDArray[np.floating],
    n: int,
    prior: NDArray[np.floating] | None,
    weight: float = PRIOR_WEIGHT,
) -> Vectors:
    """(n * mean + weight * prior) / (n + weight), float32 (D,).

    The posterior mean of a normal distribution whose mean is itself normal around the prior,
    sure of it as of `weight` observations (Gelman et al., Bayesian Data Analysis, 2.5 and
    3.2); shrinking toward a fixed point beats the plain mean in three dimensions and more
    (James & Stein 1961). Without a prior it is the plain mean, and zeros for n < 2, where that
    would be the clip itself.

    Raises:
        WrongDimension: mean and prior differ in shape.
    """
    if prior is None:
        return (mean if n >= 2 else np.zeros_like(mean)).astype(np.float32)
    if mean.shape != prior.shape:
        raise WrongDimension(f"mean {mean.shape}, prior {prior.shape}")
    if n + weight == 0:
        return prior.astype(np.float32)
    total = n * mean.astype(np.float64) + weight * prior.astype(np.float64)
    return (total / (n + weight)).astype(np.float32)


def needs_rebuild(built_on: int, size: int) -> bool:
    """Whether an index whose mean was taken from `built_on` clips should be built anew at `size`.

    When the library has grown or shrunk by half, until it is large on both sides.
    """
    if min(built_on, size) >= SETTLED_SIZE:
        return False
    return size != built_on and (size >= 1.5 * built_on or size <= 0.5 * built_on)


def drift(
    of: NDArray[np.floating], sample: Vectors, n: int, prior: NDArray[np.floating] | None
) -> float:
    """How far the mean of a build lies from the one that a build of today would have: their
    squared distance over the mean squared distance of embeddings from their mean.

    Args:
        of: (D,) the mean of the build.
        sample: (s, D), s >= 1, at random from the n embeddings of today. That its mean errs by
            1/s - 1/n on average is taken off, so that the drift of none may be below 0.

    Raises:
        WrongDimension, NotFinite
    """
    running = RunningMean(len(of))
    running.add(sample)
    mean = running.mean()
    energy = sum(float(np.square(sample[b] - mean).sum()) for b in blocks(*sample.shape))
    energy = max(energy / len(sample), np.finfo(np.float64).tiny)
    moved = shrunk_mean(mean, n, prior).astype(np.float64) - of
    return float(moved @ moved) / energy - (1 / len(sample) - 1 / n)


def _sum(vectors: Vectors) -> NDArray[np.float64]:
    total = np.zeros(vectors.shape[1])
    for block in blocks(*vectors.shape):
        total += vectors[block].sum(axis=0, dtype=np.float64)
    return total
