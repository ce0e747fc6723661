"""Features, and clusters of them: by emotion more than by voice, the same each time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score as agreement

from app.analysis import clustering
from app.analysis.clustering import cluster
from app.analysis.facts import NONE
from app.analysis.features import Features
from app.analysis.grouping import Algorithm
from index.kmeans import kmeans, nearest_rows
from tests.analysis.voices import DIMENSION, voices

BOTH: tuple[Algorithm, ...] = ("hdbscan", "kmeans")


def blobs(count: int, k: int, seed: int = 0, *, noise: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (count + noise, 10) of k groups far from each other, and their labels, NONE for
    the noise behind them."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((k, 10)) * 3
    labels = random.integers(k, size=count)
    grouped = centres[labels] + random.standard_normal((count, 10)) * 0.3
    alone = random.uniform(-30, 30, (noise, 10))
    return (
        np.vstack([grouped, alone]).astype(np.float32),
        np.concatenate([labels, np.full(noise, NONE)]),
    )


def test_features_have_variance_one_and_their_shares() -> None:
    made = voices(600)
    space = Features.fit(made.vectors, made.facts.scores, 0.6)
    features = space(made.vectors, made.facts.scores)
    variance = features.var(axis=0, dtype=np.float64)
    assert variance.sum() == pytest.approx(1.0, abs=1e-4)
    assert variance[-9:].sum() == pytest.approx(0.6, abs=1e-4)


def test_features_are_the_same_for_a_clip_alone_up_to_rounding() -> None:
    made = voices(300)
    space = Features.fit(made.vectors, made.facts.scores)
    together = space(made.vectors, made.facts.scores)
    alone = space(made.vectors[7:8], made.facts.scores[7:8])
    np.testing.assert_allclose(alone[0], together[7], atol=1e-5)


def test_a_clip_without_scores_has_those_that_its_embedding_says() -> None:
    made = voices(800)
    scores = made.facts.scores.copy()
    missing = np.arange(0, 800, 4)
    scores[missing] = np.nan
    space = Features.fit(made.vectors, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = space(made.vectors, scores)
    assert np.isfinite(features).all()
    told = space(made.vectors, made.facts.scores)[missing, -9:]
    guessed = features[missing, -9:]
    chance = np.mean(np.square(told - told.mean(axis=0)))
    assert np.mean(np.square(guessed - told)) < 0.6 * chance
    others = np.setdiff1d(np.arange(800), missing)
    own = (scores[others] - space.score_mean) * space.score_scale
    np.testing.assert_allclose(features[others, -9:], own, atol=1e-5)


def test_without_scores_there_are_directions_alone() -> None:
    made = voices(200)
    none = np.full_like(made.facts.scores, np.nan)
    space = Features.fit(made.vectors, none)
    features = space(made.vectors, none)
    assert features.shape == (200, DIMENSION)
    assert features.var(axis=0, dtype=np.float64).sum() == pytest.approx(1.0, abs=1e-4)
    assert (space.scales[DIMENSION:] == 0).all()


def test_clips_that_are_all_the_same_are_no_error() -> None:
    vectors = np.ones((50, DIMENSION), np.float32)
    scores = np.full((50, 9), 1 / 9, np.float32)
    features = Features.fit(vectors, scores)(vectors, scores)
    assert (features == 0).all()
    for algorithm in BOTH:
        found = cluster(features, algorithm, None, 1)
        assert len(found.labels) == 50
        assert found.silhouette is None


def test_centres_of_two_fits_are_compared_on_one_scale() -> None:
    made = voices(2000)
    halves = np.arange(1000), np.arange(1000, 2000)
    back = []
    for rows in halves:
        space = Features.fit(made.vectors[rows], made.facts.scores[rows])
        features = space(made.vectors[rows], made.facts.scores[rows])
        means = [features[made.emotions[rows] == emotion].mean(axis=0) for emotion in range(4)]
        back.append(space.embeddings_of(np.array(means, np.float32)) * space.scales)
        inner = np.linalg.norm(means[0] - means[1])
        assert np.linalg.norm(back[-1][0] - back[-1][1]) == pytest.approx(inner, rel=1e-3)
    apart = np.linalg.norm(back[0][:, None] - back[1], axis=2)
    np.testing.assert_array_equal(apart.argmin(axis=1), range(4))
    assert apart.diagonal().max() < 0.3 * apart[~np.eye(4, dtype=bool)].min()


@pytest.mark.parametrize("algorithm", BOTH)
def test_groups_that_are_there_are_found(algorithm: Algorithm) -> None:
    features, labels = blobs(1500, 6)
    found = cluster(features, algorithm, None, 3)
    assert agreement(labels, found.labels) > 0.99
    assert len(found.sizes) == 6
    assert found.silhouette is not None
    assert found.silhouette > 0.7
    np.testing.assert_array_equal(found.sizes, np.sort(found.sizes)[::-1])
    np.testing.assert_array_equal(found.sizes, np.bincount(found.labels[found.labels != NONE]))


def test_a_number_of_clusters_is_obeyed() -> None:
    features, _ = blobs(300, 5)
    found = cluster(features, "kmeans", 3, 0)
    assert len(found.sizes) == 3
    assert found.parameters["n_clusters"] == 3
    assert found.parameters["chosen_by"] == "given"


def test_the_number_before_is_kept_where_no_other_is_much_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)
    features = random.uniform(-1, 1, (800, 3)).astype(np.float32)  # no number is right
    tried = cluster(features, "kmeans", None, 0).parameters["tried"]
    best, second = sorted(tried.values())[:-3:-1]
    with monkeypatch.context() as patient:
        patient.setattr(clustering, "MUCH_BETTER", best - second + 1e-3)
        k = next(int(k) for k in tried if tried[k] == second)
        assert len(cluster(features, "kmeans", None, 0, k).sizes) == k
    features, _ = blobs(800, 5)
    for before in (2, 4, 6, 99):
        assert len(cluster(features, "kmeans", None, 0, before).sizes) == 5


@pytest.mark.parametrize("algorithm", BOTH)
def test_emotions_are_found_before_voices(algorithm: Algorithm) -> None:
    made = voices(1500)
    features = Features.fit(made.vectors, made.facts.scores)(made.vectors, made.facts.scores)
    found = cluster(features, algorithm, None, 0)
    raw = nearest_rows(made.vectors, kmeans(made.vectors, len(found.sizes), 0))[0][:, 0]
    assert agreement(made.emotions, found.labels) > 0.7
    assert agreement(made.emotions, found.labels) > agreement(made.emotions, raw)
    assert agreement(made.speakers, found.labels) < 0.1


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("count", [20, 21, 40, 333])
def test_one_seed_one_answer(algorithm: Algorithm, count: int) -> None:
    made = voices(count, seed=count)
    features = Features.fit(made.vectors, made.facts.scores)(made.vectors, made.facts.scores)
    first, again = (cluster(features.copy(), algorithm, None, 5) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.parameters == again.parameters
    assert first.silhouette == again.silhouette
    assert set(np.unique(first.labels)) <= {NONE, *range(len(first.sizes))}


def test_beyond_the_sample_every_clip_has_its_cluster_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clustering, "DENSITY_SAMPLE", 400)
    features, labels = blobs(3000, 5, noise=300)
    found = cluster(features, "hdbscan", None, 2)
    assert found.parameters["sampled"] == 400
    grouped = labels != NONE
    assert agreement(labels[grouped], found.labels[grouped]) > 0.9
    assert (found.labels[grouped] == NONE).mean() < 0.15
    assert (found.labels[~grouped] == NONE).mean() > 0.9


def test_no_clusters_is_an_answer() -> None:
    features = np.random.default_rng(0).uniform(-1, 1, (400, 12)).astype(np.float32)
    found = cluster(features, "hdbscan", None, 0)
    assert len(found.labels) == 400
    assert found.sizes.sum() == (found.labels != NONE).sum()


def test_nearest_rows_are_the_nearest() -> None:
    random = np.random.default_rng(4)
    vectors, rows = (random.standard_normal((n, 7)).astype(np.float32) for n in (500, 40))
    places, squares = nearest_rows(vectors, rows, 3)
    exact = np.square(vectors[:, None].astype(np.float64) - rows).sum(axis=2)
    np.testing.assert_array_equal(places, exact.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(squares, np.sort(exact, axis=1)[:, :3], atol=1e-4)
