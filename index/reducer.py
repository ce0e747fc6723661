"""Directions in fewer dimensions and in bytes: what candidates are looked for in."""

from __future__ import annotations

from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from index.contract import Vectors

ENERGY: Final = 0.99  # of the squared length of directions, on average, that is kept
STEP: Final = 16  # dimensions are a multiple of this: of what a processor multiplies at once
SAMPLE: Final = 50_000  # rows that it is learnt from


class Reducer:
    """The main axes of the directions, as a projection (D, d), and a scale for each of them by
    which a coordinate becomes a byte. Learnt once for a graph; changes nothing afterwards.

    Inner products of reduced directions stand for their cosines: with 99 % of the energy kept
    they err by a hundredth or so, which the re-ranking of candidates by full vectors mends.
    """

    def __init__(self, projection: Vectors, scales: Vectors) -> None:
        """projection (D, d); scales (2·d,): FAISS's lowest values and ranges by axis."""
        self.projection = projection
        self.scales = scales
        self.dimension = int(projection.shape[1])
        self._axes = np.ascontiguousarray(projection.T)
        self._variances = (scales[self.dimension :] / 255) ** 2 / 12  # of what bytes lack, by axis

    @classmethod
    def learn(cls, directions: Vectors) -> Reducer:
        """From a sample of directions (n, D), n >= 1."""
        covariance = np.zeros((directions.shape[1],) * 2)
        for start in range(0, len(directions), 8192):
            block = directions[start : start + 8192]
            covariance += (block.T @ block).astype(np.float64)
        energy, axes = np.linalg.eigh(covariance)  # ascending
        kept = _kept(energy[::-1])
        projection = np.ascontiguousarray(axes[:, ::-1][:, :kept], np.float32)
        bytes_ = faiss.IndexScalarQuantizer(kept, faiss.ScalarQuantizer.QT_8bit)
        bytes_.train(directions @ projection)
        return cls(projection, faiss.vector_to_array(bytes_.sq.trained))

    def __call__(self, directions: Vectors) -> Vectors:
        """(n, D) → (n, d) float32."""
        return directions @ self.projection

    def each(self, directions: Vectors) -> Vectors:
        """(q, D) → (q, d): each the same whatever else is asked for at the time, where the product
        of two matrices rounds by a row's place, and takes threads that a search has no use for."""
        reduced: Vectors = np.vecdot(directions[:, np.newaxis], self._axes)
        return reduced

    def errors(self, reduced: Vectors) -> tuple[Vectors, Vectors]:
        """What the inner products with directions of length 1, reduced (q, d), err by: their
        standard deviations (q,) for the bytes, and how much more is missing (q,) where a row equals
        one."""
        squares = reduced**2
        return np.sqrt(np.vecdot(squares, self._variances)), np.maximum(
            0.0, 1.0 - squares.sum(axis=1)
        )

    def codes(self) -> faiss.IndexScalarQuantizer:
        """An empty list of reduced directions in bytes, compared by inner product."""
        index = faiss.IndexScalarQuantizer(
            self.dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        faiss.copy_array_to_vector(self.scales, index.sq.trained)
        index.is_trained = True
        return index


def _kept(energy: NDArray[np.float64]) -> int:
    """Axes needed for ENERGY, by falling energy of each."""
    share = np.cumsum(energy) / max(float(energy.sum()), np.finfo(np.float64).tiny)
    needed = int(np.searchsorted(share, ENERGY)) + 1
    return min(len(energy), -(-needed // STEP) * STEP)
