"""Clips into clusters, by density or by k-means, and how good the clusters are."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN
from sklearn.metrics import pairwise_distances, silhouette_score

from app.analysis.facts import NONE
from app.analysis.grouping import Algorithm, chosen_rows
from index.kmeans import kmeans, nearest_rows

Vectors = NDArray[np.float32]
Labels = NDArray[np.int32]

K_GRID: Final = range(2, 21)
MUCH_BETTER: Final = 0.005  # of silhouettes
K_SAMPLE: Final = 20_000  # clips that k is chosen on
SILHOUETTE_SAMPLE: Final = 3000  # clips of which all pairs are compared
DENSITY_AXES: Final = 12  # main axes of the features that HDBSCAN sees
DENSITY_SAMPLE: Final = 20_000  # clips that it sees: it compares all pairs of them
REACH: Final = 95.0  # percentile, see `_reach`
BLOCK: Final = 65_536  # of the other clips, looked at together
SMALLEST: Final = (0.01, 0.02, 0.04)  # shares of the clips that a cluster must have, tried


@dataclasses.dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters 0, 1, … by falling size; `labels` (n,) holds NONE for outliers."""

    labels: Labels
    sizes: NDArray[np.int64]  # (k,)
    silhouette: float | None  # mean of a sample of the clustered clips; None with fewer than two
    parameters: dict[str, Any]  # of the algorithm, and how they were chosen


def cluster(
    features: Vectors,
    algorithm: Algorithm,
    n_clusters: int | None,
    seed: int,
    before: int | None = None,
) -> Clustering:
    """Group features (n, d), n no less than grouping.FEWEST and `n_clusters`. The same arguments
    give the same answer.

    Args:
        n_clusters: of k-means; None: chosen.
        before: clusters of an earlier run, a number that is kept where no other is much better:
            else it would go up and down by chance from week to week.
    """
    if algorithm == "hdbscan":
        labels, parameters = _by_density(features, seed)
    else:
        labels, parameters = _by_means(features, n_clusters, seed, before)
    labels = _by_size(labels)
    sizes = np.bincount(labels[labels != NONE])
    return Clustering(labels, sizes, _silhouette(features, labels, seed), parameters)


def _by_means(
    features: Vectors, n_clusters: int | None, seed: int, before: int | None
) -> tuple[Labels, dict[str, Any]]:
    parameters: dict[str, Any] = {"dimensions": features.shape[1]}
    if n_clusters is None:
        tried = _silhouettes_by_k(features, seed)
        n_clusters = max(tried, key=lambda k: (tried[k], -k))
        why = f"the highest silhouette of k = {min(tried)} to {max(tried)}"
        if before is not None and tried[n_clusters] - tried.get(before, -1.0) < MUCH_BETTER:
            n_clusters = before
            why = f"the run before had as many, and no other k is better by {MUCH_BETTER}"
        parameters |= {
            "chosen_by": why,
            "tried": {str(k): round(value, 4) for k, value in tried.items()},
        }
    else:
        parameters["chosen_by"] = "given"
    centres = kmeans(features, n_clusters, seed)
    places, _ = nearest_rows(features, centres)
    return places[:, 0].astype(np.int32), {"n_clusters": n_clusters, **parameters}


def _silhouettes_by_k(features: Vectors, seed: int) -> dict[int, float]:
    """Of k-means with each k that makes sense, on samples (Rousseeuw 1987)."""
    some = features[chosen_rows(len(features), K_SAMPLE, seed)]
    few = some[chosen_rows(len(some), SILHOUETTE_SAMPLE, seed)]
    distances = _distances(few)
    found = {}
    for k in K_GRID:
        if k * 5 > len(some):
            break
        labels = nearest_rows(few, kmeans(some, k, seed))[0][:, 0]
        found[k] = _silhouette_of(distances, labels)
    return found


def _by_density(features: Vectors, seed: int) -> tuple[Labels, dict[str, Any]]:
    """HDBSCAN (Campello et al. 2013) of a sample's main axes. Of the other clips each goes to the
    cluster of the nearest sampled one if it is within that cluster's reach."""
    rows = chosen_rows(len(features), DENSITY_SAMPLE, seed)
    mean, axes = _main_axes(features[rows])
    sampled = _reduced(features[rows], mean, axes)
    few = chosen_rows(len(rows), SILHOUETTE_SAMPLE, seed)
    distances = _distances(sampled[few])
    found, tried = {}, {}
    for smallest in sorted({max(5, round(share * len(rows))) for share in SMALLEST}):
        found[smallest] = _hdbscan(sampled, smallest)
        tried[smallest] = _validity(distances, found[smallest][few])
    chosen = max(tried, key=lambda smallest: (tried[smallest], smallest))
    labels = np.full(len(features), NONE, np.int32)
    labels[rows] = found[chosen]
    others = np.setdiff1d(np.arange(len(features)), rows, assume_unique=True)
    in_cluster = found[chosen] != NONE
    if len(others) and in_cluster.any():
        members, names = sampled[in_cluster], found[chosen][in_cluster]
        reach = _reach(members, names)
        for start in range(0, len(others), BLOCK):
            some = others[start : start + BLOCK]
            places, squares = nearest_rows(_reduced(features[some], mean, axes), members)
            near = names[places[:, 0]]
            labels[some] = np.where(squares[:, 0] <= reach[near], near, NONE)
    return labels, {
        "min_cluster_size": chosen,
        "min_samples": _min_samples(chosen),
        "dimensions": sampled.shape[1],
        "sampled": len(rows),
        "chosen_by": "the highest silhouette times the share of clips in clusters",
        "tried": {str(size): round(value, 4) for size, value in tried.items()},
    }


def _hdbscan(sampled: Vectors, smallest: int) -> Labels:
    found = HDBSCAN(
        min_cluster_size=smallest,
        min_samples=_min_samples(smallest),
        cluster_selection_method="eom",
        copy=True,
        n_jobs=1,
    ).fit_predict(sampled.astype(np.float64))
    labels: Labels = np.where(found < 0, NONE, found).astype(np.int32)
    return labels


def _min_samples(smallest: int) -> int:
    """Neighbours that make a clip a core: fewer than a cluster's, or all between is outliers."""
    return max(3, min(10, smallest // 4))


def _validity(distances: NDArray[np.float64], labels: Labels) -> float:
    """Silhouette of the clustered, times their share: -1 where there are not two clusters."""
    kept = labels != NONE
    if len(np.unique(labels[kept])) < 2:
        return -1.0
    return _silhouette_of(distances[np.ix_(kept, kept)], labels[kept]) * float(kept.mean())


def _reach(members: Vectors, labels: Labels) -> Vectors:
    """(k,) squared distance to the nearest other sampled clip of the cluster, below which REACH of
    a hundred of its clips are: what is farther away from all of them is none of its."""
    reach = np.zeros(int(labels.max()) + 1, np.float32)
    for label in np.unique(labels):
        own = members[labels == label]
        _, squares = nearest_rows(own, own, 2)
        reach[label] = np.percentile(squares[:, 1], REACH)
    return reach


def _main_axes(features: Vectors) -> tuple[Vectors, Vectors]:
    """Mean (d,) and the main axes (d, DENSITY_AXES) of features (n, d)."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), axes[:, ::-1][:, :DENSITY_AXES].astype(np.float32)


def _reduced(features: Vectors, mean: Vectors, axes: Vectors) -> Vectors:
    """(n, DENSITY_AXES), as `_main_axes` says."""
    return ((features - mean) @ axes).astype(np.float32, copy=False)


def _by_size(labels: Labels) -> Labels:
    """Numbered by falling size, ties by the first clip."""
    kept = labels != NONE
    names, first, sizes = np.unique(labels[kept], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    number = np.full(int(names.max(initial=-1)) + 2, NONE, np.int32)  # the last is NONE's
    number[names[order]] = np.arange(len(names), dtype=np.int32)
    renamed: Labels = number[labels]
    return renamed


def _silhouette(features: Vectors, labels: Labels, seed: int) -> float | None:
    kept = np.flatnonzero(labels != NONE)
    kept = kept[chosen_rows(len(kept), SILHOUETTE_SAMPLE, seed)]
    if len(np.unique(labels[kept])) < 2 or len(np.unique(labels[kept])) >= len(kept):
        return None
    return _silhouette_of(_distances(features[kept]), labels[kept])


def _distances(vectors: Vectors) -> NDArray[np.float64]:
    """(n, n) of float64, whose diagonal is exactly zero as scikit-learn wants it."""
    distances: NDArray[np.float64] = pairwise_distances(vectors.astype(np.float64))
    np.fill_diagonal(distances, 0.0)
    return distances


def _silhouette_of(distances: NDArray[np.float64], labels: NDArray[Any]) -> float:
    if not 2 <= len(np.unique(labels)) < len(labels):
        return -1.0
    return float(silhouette_score(distances, labels, metric="precomputed"))
