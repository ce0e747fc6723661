"""What clips are compared by when they are grouped: the direction of the embedding, and the scores.

A direction is the embedding without the mean, at length 1, on its main axes. Some models'
directions are of the emotion for the most part, others' of the voice as much. The nine scores say
what the model's head makes of the same embedding. So a clip is both, side by side, and the less of
the directions the scores explain, the more of the whole variance is theirs.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

Vectors = NDArray[np.float32]

AXES: Final = 48  # main axes of the directions that are kept, at most
SCORE_SHARE: Final = 0.95  # of the variance, at most
# Share of the directions' variance that the scores explain: from the first on they add nothing, up
# to the second they get SCORE_SHARE. Measured: see DECISIONS.
ENOUGH, LITTLE = 0.75, 0.45
FEWEST_SCORED: Final = 20  # of the clips that it is fitted to; with fewer, directions alone
BLOCK: Final = 4096  # rows centred at a time


@dataclasses.dataclass(frozen=True, slots=True)
class Features:
    """Embeddings (n, D) and scores (n, 9) → (n, d + 9), or (n, d) where hardly any clip has scores.

    The total variance is about 1. `mean` (D,) and `length` take an embedding to its direction,
    `axes` (D, d) reduce that. Scores that a clip lacks are those that a ridge regression on its
    axes says.
    """

    mean: Vectors
    length: float  # root mean square of embeddings without the mean
    axes: Vectors
    direction_scale: float
    score_mean: Vectors  # (9,)
    score_scale: float  # 0: no scores
    score_weights: Vectors  # (d, 9) of the regression
    score_bias: Vectors  # (9,)

    @classmethod
    def fit(cls, vectors: Vectors, scores: Vectors, score_share: float | None = None) -> Features:
        """To embeddings (s, D), s >= 2, and their scores (s, 9), NaN where there are none; with
        the scores' share of the variance that suits them, unless it is given."""
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = vectors - mean
        lengths = np.sqrt(np.vecdot(centred, centred), dtype=np.float64)
        directions = _unit(centred)
        _, axes = np.linalg.eigh((directions.T @ directions).astype(np.float64))
        kept = min(AXES, vectors.shape[1], len(vectors) - 1)
        axes = _signed(axes[:, ::-1][:, :kept]).astype(np.float32)
        reduced = directions @ axes
        scored = np.isfinite(scores).all(axis=1)
        if scored.sum() < FEWEST_SCORED:
            score_share = 0.0
        known = scores[scored]
        if score_share is None:
            score_share = _share(explained(reduced[scored], known))
        none = np.zeros((kept, scores.shape[1]), np.float32)
        weights, bias, score_mean = none, none[0], none[0]
        if score_share:
            ridge = Ridge(alpha=1.0).fit(reduced[scored], known)
            weights, bias = ridge.coef_.T.astype(np.float32), ridge.intercept_.astype(np.float32)
            score_mean = known.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(
            mean=mean,
            length=float(np.sqrt(np.mean(lengths**2))),
            axes=axes,
            direction_scale=_scale(1.0 - score_share, reduced),
            score_mean=score_mean,
            score_scale=_scale(score_share, known),
            score_weights=weights,
            score_bias=bias,
        )

    def __call__(self, vectors: Vectors, scores: Vectors) -> Vectors:
        reduced = np.empty((len(vectors), self.axes.shape[1]), np.float32)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            reduced[block] = _unit(vectors[block] - self.mean) @ self.axes
        if not self.score_scale:
            return reduced * np.float32(self.direction_scale)
        scored = np.asarray(np.isfinite(scores).all(axis=1))
        guessed = np.maximum(reduced @ self.score_weights + self.score_bias, 0.0)
        guessed /= np.maximum(guessed.sum(axis=1, keepdims=True), 1e-6)
        heard = np.where(scored[:, np.newaxis], scores, guessed)
        return np.hstack(
            [
                reduced * np.float32(self.direction_scale),
                (heard - self.score_mean) * np.float32(self.score_scale),
            ]
        ).astype(np.float32)

    def directions_of(self, features: Vectors) -> Vectors:
        """The axes (n, d) of the directions that features (n, d + 9) hold, unscaled."""
        d = self.axes.shape[1]
        if not self.direction_scale:
            return np.zeros((len(features), d), np.float32)
        return features[:, :d] / np.float32(self.direction_scale)

    def embeddings_of(self, features: Vectors) -> Vectors:
        """What embeddings (n, D), and scores (n, 9) behind them, features stand for, but for what
        is not on the axes: so that features of two fits can be compared."""
        d = self.axes.shape[1]
        embeddings = self.mean + self.length * (self.directions_of(features) @ self.axes.T)
        scores = np.zeros((len(features), len(self.score_mean)), np.float32)
        if self.score_scale:
            scores = features[:, d:] / np.float32(self.score_scale) + self.score_mean
        return np.hstack([embeddings, scores]).astype(np.float32)

    @property
    def scales(self) -> Vectors:
        """(D + 9,) by which differences between `embeddings_of` become those of features."""
        direction = self.direction_scale / self.length if self.length else 0.0
        score = [self.score_scale] * len(self.score_mean)
        return np.array([direction] * len(self.mean) + score, np.float32)


def explained(directions: Vectors, scores: Vectors) -> float:
    """Share of the variance of directions (n, d) that the square roots of scores (n, L) explain
    linearly, adjusted for their number (Ezekiel 1930). At most 1; not above 0 where they explain
    nothing."""
    count, known = scores.shape
    centred = directions - directions.mean(axis=0)
    total = float(np.square(centred, dtype=np.float64).sum())
    if total == 0 or count <= known + 1:
        return 0.0
    roots = np.sqrt(np.maximum(scores, 0.0))
    roots = roots - roots.mean(axis=0)
    weights, *_ = np.linalg.lstsq(roots, centred, rcond=1e-4)
    left = float(np.square(centred - roots @ weights, dtype=np.float64).sum())
    return float(1.0 - left / total * (count - 1) / (count - known - 1))


def _share(explained: float) -> float:
    return SCORE_SHARE * float(np.clip((ENOUGH - explained) / (ENOUGH - LITTLE), 0.0, 1.0))


def _unit(vectors: Vectors) -> Vectors:
    """At length 1; zeros stay."""
    lengths = np.sqrt(np.vecdot(vectors, vectors))[:, np.newaxis]
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def _signed(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each axis (D, d) with its largest coordinate positive: else its sign is chance."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[np.newaxis], axis=0)
    return axes * np.where(largest < 0, -1.0, 1.0)


def _scale(share: float, values: Vectors) -> float:
    """By which values (n, d) get this share of a total variance of 1."""
    if not share or not len(values):
        return 0.0
    variance = float(values.var(axis=0, dtype=np.float64).sum())
    return float(np.sqrt(share / variance)) if variance > 0 else 0.0
