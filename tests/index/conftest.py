"""Vectors that are hard to rank: equal, nearly equal, opposite, and without a direction."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

HardVectors = Callable[[int, NDArray[np.float32], int], NDArray[np.float32]]


@pytest.fixture(scope="session")
def hard_vectors() -> HardVectors:
    """make(seed, mean (D,), n) -> (n, D), n > 16 repeating some of them."""

    def make(seed: int, mean: NDArray[np.float32], n: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        base = rng.standard_normal((3, len(mean))).astype(np.float32) + mean
        nudged = np.nextafter(base, np.float32(np.inf))
        nudged_once = base.copy()
        nudged_once[:, 0] = np.nextafter(base[:, 0], np.float32(-np.inf))
        kinds = np.concatenate(
            [base, nudged, nudged_once, 2 * base - mean, 2 * mean - base, mean[np.newaxis]]
        )
        return kinds[rng.integers(0, len(kinds), n)]

    return make
