"""A linear classifier of embeddings: what is kept of it, and what it says of a clip."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearClassifier:
    """Multinomial logistic regression on standardised embeddings of one model.

    P(class | embedding) = softmax(weights · (embedding − mean) / scale + bias), with K classes
    and D dimensions.

    Raises:
        ValueError: the shapes do not fit together, or a number is not finite.
    """

    classes: tuple[str, ...]  # K, sorted
    mean: Floats  # (D,)
    scale: Floats  # (D,), above 0
    weights: Floats  # (K, D)
    bias: Floats  # (K,)

    def __post_init__(self) -> None:
        count, dimension = len(self.classes), len(self.mean)
        shapes = (self.mean.shape, self.scale.shape, self.weights.shape, self.bias.shape)
        if shapes != ((dimension,), (dimension,), (count, dimension), (count,)) or count < 2:
            raise ValueError(f"{count} classes do not fit parameters of the shapes {shapes}")
        if not all(np.isfinite(one).all() for one in (self.mean, self.weights, self.bias)):
            raise ValueError("a parameter is not finite")
        if not ((self.scale > 0) & np.isfinite(self.scale)).all():
            raise ValueError("a scale is not above 0")

    def probabilities(self, embeddings: NDArray[np.floating[Any]]) -> Floats:
        """(n, K) of embeddings (n, D); each row sums to 1. Embeddings that are not finite give
        probabilities that are not."""
        standardised = (embeddings - self.mean) / self.scale
        return softmax(standardised @ self.weights.T + self.bias)


def softmax(logits: Floats) -> Floats:
    """(n, K) → (n, K), rows that sum to 1."""
    # Without its largest: the exponential of a thousand is no number.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
