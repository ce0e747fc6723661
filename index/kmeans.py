"""k-means and exact nearest rows, by FAISS, for vectors of few dimensions (d below some hundred).

The answers depend on the vectors and the seed alone: one thread does it, because a product of
matrices that several threads share rounds by how they share it.
"""

from __future__ import annotations

from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from index.contract import Vectors
from index.threads import omp_threads

ITERATIONS: Final = 25
TRIES: Final = 10  # from different starts; the one with the least squared distances is kept
TRAINED_ON: Final = 2048  # vectors a cluster, at most, drawn by the seed
BLOCK: Final = 65_536  # vectors looked up at a time


def kmeans(vectors: Vectors, k: int, seed: int) -> Vectors:
    """(k, d) centres of vectors (n, d), 1 <= k <= n, begun by k-means++ (Arthur & Vassilvitskii
    2007)."""
    dimension = vectors.shape[1]
    quantiser = faiss.Kmeans(
        dimension,
        k,
        niter=ITERATIONS,
        nredo=TRIES,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=TRAINED_ON,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    with omp_threads(1):
        quantiser.train(np.ascontiguousarray(vectors, np.float32))
    centres: Vectors = np.array(quantiser.centroids, np.float32).reshape(k, dimension)
    return centres


def nearest_rows(
    vectors: Vectors, rows: Vectors, count: int = 1
) -> tuple[NDArray[np.int64], Vectors]:
    """Of each of vectors (n, d) the `count` nearest of rows (m, d), count <= m: their places
    (n, count) and squared distances (n, count), nearest first."""
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(np.ascontiguousarray(rows, np.float32))
    places = np.empty((len(vectors), count), np.int64)
    distances = np.empty((len(vectors), count), np.float32)
    with omp_threads(1):
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            part = np.ascontiguousarray(vectors[block], np.float32)
            distances[block], places[block] = index.search(part, count)
    return places, distances
