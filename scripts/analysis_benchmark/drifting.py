"""Simulated customers: how the evidence of a change comes up, clip by clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.analysis import drift

BLOCK = 500  # customers at a time: 100 MB


def customers(rng: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(m, n) negative clips, by the share (m, n) that holds for each."""
    return rng.random(shares.shape) < shares


def learnt(negative: NDArray[np.bool_]) -> drift.Baseline:
    """The baseline of a library of (m, n) clips of m customers."""
    each = negative.sum(axis=1)
    return drift.fit_baseline(drift.Sums.of(each, np.full(len(each), negative.shape[1])))


def evidence(
    negative: NDArray[np.bool_], baseline: drift.Baseline, first: int, last: int
) -> NDArray[np.float64]:
    """(m,) the most that the evidence came to after any of the clips `first` to `last` (from 1) of
    (m, ≥ last), at most drift.HISTORY."""
    most = np.full(len(negative), -np.inf)
    for start in range(0, len(negative), BLOCK):
        some = negative[start : start + BLOCK]
        counts = np.concatenate([np.zeros((len(some), 1), int), np.cumsum(some, axis=1)], axis=1)
        for clips in range(max(drift.FEWEST, first), last + 1):
            now = drift.add_up(*drift.log_ratios(counts, clips, baseline))
            most[start : start + BLOCK] = np.maximum(most[start : start + BLOCK], now)
    return most
