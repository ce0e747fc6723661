"""One map turned as an earlier one lies, so that the picture does not flip from week to week."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

FEWEST_ANCHORS: Final = 3


def turned(coordinates: Vectors, anchors: Vectors, before: Vectors) -> Vectors:
    """Coordinates (m, 2) turned or mirrored about their origin, so that anchors (a, 2) on this map
    come as near as they can to where they were on an earlier one, before (a, 2): orthogonal
    Procrustes (Schönemann 1966). As they are with fewer than FEWEST_ANCHORS."""
    if len(anchors) < FEWEST_ANCHORS:
        return coordinates
    products = anchors.astype(np.float64).T @ before.astype(np.float64)
    if not np.isfinite(products).all():
        return coordinates
    left, _, right = np.linalg.svd(products)
    as_before: Vectors = (coordinates @ (left @ right)).astype(np.float32)
    return as_before
