"""How much of what clips are compared by is their scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from app.analysis.features import SCORE_SHARE, Features, explained

COUNT, DIMENSION = 400, 24
Floats = np.ndarray


def clips(voice: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Embeddings that are a linear map of the scores, and of one of ten voices, `voice` as much."""
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.full(9, 0.3), COUNT)
    told = (np.sqrt(scores) - np.sqrt(scores).mean(axis=0)) @ random.standard_normal((9, DIMENSION))
    voices = random.standard_normal((10, DIMENSION))[random.integers(10, size=COUNT)]
    voices -= voices.mean(axis=0)
    embeddings = told / told.std() + voice * voices / voices.std()
    return embeddings.astype(np.float32), scores.astype(np.float32)


def shares(voice: float) -> tuple[float, float]:
    """Of the variance of features: that of directions, and that of scores."""
    vectors, scores = clips(voice)
    fitted = Features.fit(vectors, scores)
    variances = fitted(vectors, scores).var(axis=0)
    d = fitted.axes.shape[1]
    return float(variances[:d].sum()), float(variances[d:].sum())


def test_scores_count_where_directions_are_of_the_voice() -> None:
    assert shares(0.0) == (pytest.approx(1), 0)
    directions, scores = shares(3.0)
    assert scores == pytest.approx(SCORE_SHARE, abs=0.01)
    assert directions == pytest.approx(1 - SCORE_SHARE, abs=0.01)
    _, between = shares(0.75)
    assert 0.05 < between < 0.9


@pytest.mark.parametrize("voice", [0.0, 0.7, 3.0])
def test_explained_is_the_adjusted_r_squared(voice: float) -> None:
    vectors, scores = clips(voice)
    roots = np.sqrt(scores.astype(np.float64))
    found = LinearRegression().fit(roots, vectors).predict(roots)
    left = ((vectors - found) ** 2).sum() / ((vectors - vectors.mean(axis=0)) ** 2).sum()
    wanted = 1 - left * (COUNT - 1) / (COUNT - 9 - 1)
    assert explained(vectors, scores) == pytest.approx(wanted, abs=1e-3)


def test_nothing_is_explained_by_chance_or_of_nothing() -> None:
    vectors, scores = clips(0.0)
    shuffled = np.random.default_rng(1).permutation(scores)
    assert abs(explained(vectors[:40], shuffled[:40])) < 0.2
    assert explained(np.zeros((50, 3), np.float32), scores[:50]) == 0
    assert explained(vectors[:9], scores[:9]) == 0
