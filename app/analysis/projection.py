"""A map: clips in two dimensions, alike ones near each other."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from app.analysis.grouping import chosen_rows
from index.kmeans import nearest_rows

Vectors = NDArray[np.float32]

MOST: Final = 100_000  # clips on a map
PLACED: Final = 5000  # clips that t-SNE places
PERPLEXITY: Final = 30.0
NEIGHBOURS: Final = 5  # placed clips that one of the others is placed by


def project(features: Vectors, seed: int) -> tuple[NDArray[np.int64], Vectors]:
    """Rows (m,) of features (n, d), ascending, and their coordinates (m, 2) within ±1.

    t-SNE (van der Maaten & Hinton 2008) begun at the main axes, so that the whole lies alike each
    time (Kobak & Berens 2019). Above PLACED clips it places that many, and the others lie at the
    mean of their nearest placed ones, weighted by 1 / squared distance.
    """
    rows = chosen_rows(len(features), MOST, seed)
    on_map = features[rows]
    placed = chosen_rows(len(rows), PLACED, seed)
    coordinates = np.empty((len(rows), 2), np.float32)
    coordinates[placed] = _tsne(on_map[placed], seed)
    others = np.setdiff1d(np.arange(len(rows)), placed, assume_unique=True)
    if len(others):
        places, squares = nearest_rows(on_map[others], on_map[placed], NEIGHBOURS)
        weights = 1.0 / np.maximum(squares, 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        near = coordinates[placed][places]
        coordinates[others] = np.einsum("nk,nkd->nd", weights, near)
    coordinates -= coordinates.mean(axis=0, dtype=np.float64).astype(np.float32)
    largest = float(np.abs(coordinates).max(initial=0.0))
    return rows, coordinates / np.float32(largest) if largest else coordinates


def _tsne(features: Vectors, seed: int) -> Vectors:
    """(n, 2) of features (n, d)."""
    count = len(features)
    if count < 5 or not np.ptp(features, axis=0).any():
        start = np.zeros((count, 2), np.float32)
        start[:, : min(2, features.shape[1])] = features[:, :2]
        return start
    found: Vectors = TSNE(
        perplexity=min(PERPLEXITY, (count - 1) / 3),
        init=_start(features),
        random_state=seed % 2**32,
        n_jobs=1,
    ).fit_transform(features)
    return found


def _start(features: Vectors) -> Vectors:
    """(n, 2) on the two main axes, each of which has its largest coordinate positive, as small as
    t-SNE wants to begin with."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    main = axes[:, ::-1][:, :2]
    main = main * np.where(np.take_along_axis(main, np.abs(main).argmax(0)[None], 0) < 0, -1, 1)
    start = centred @ main
    if start.shape[1] < 2:
        start = np.hstack([start, np.zeros((len(start), 1))])
    small: Vectors = (start / max(float(start[:, 0].std()), 1e-12) * 1e-4).astype(np.float32)
    return small
