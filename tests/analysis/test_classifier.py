"""Classifiers on embeddings: what is kept of them, how they are trained and measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.analysis import classifier_training as training
from app.analysis.classifier import LinearClassifier, softmax
from app.analysis.classifier_quality import Ranking, measure
from app.analysis.classifier_training import group_codes, grouped_folds, sharpness, train
from app.errors import InvalidParameter

D = 12


def clips(
    count: int, classes: int = 2, customers: int = 10, seed: int = 0, apart: float = 1.0
) -> tuple[NDArray[np.float32], list[str], list[str | None]]:
    """Embeddings (count, D) whose first axes tell the class, their labels and their customers."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, classes, count)
    embeddings = random.standard_normal((count, D)) * np.arange(1, D + 1) + 5
    embeddings[np.arange(count), codes] += apart * (codes + 1)
    whose: list[str | None] = [f"c{i}" for i in random.integers(0, customers, count)]
    return embeddings.astype(np.float32), [f"class {k}" for k in codes], whose


def by_formula(one: LinearClassifier, embedding: NDArray[np.float32]) -> list[float]:
    """Of one clip, number by number."""
    powers = []
    for k in range(len(one.classes)):
        logit = float(one.bias[k])
        for j, value in enumerate(embedding.tolist()):
            logit += one.weights[k, j] * (value - one.mean[j]) / one.scale[j]
        powers.append(np.exp(logit))
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("classes", [2, 4])
def test_what_is_kept_gives_scikit_learns_probabilities(classes: int) -> None:
    embeddings, labels, customers = clips(200, classes)
    one = train(embeddings, labels, customers).classifier
    assert one.classes == tuple(sorted(set(labels)))
    groups, codes = group_codes(customers), np.unique(labels, return_inverse=True)[1]
    strength, factor = training._chosen(embeddings, codes, groups, lambda: None)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    given = pipeline.fit(embeddings, labels).predict_proba(embeddings)
    # softmax(t · z) is softmax(z) to the power of t, scaled to sum to 1.
    expected = given**factor / (given**factor).sum(axis=1, keepdims=True)
    found = one.probabilities(embeddings)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found[7], by_formula(one, embeddings[7]), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_what_does_not_fit_together_is_no_classifier() -> None:
    good: dict[str, Any] = {
        "classes": ("a", "b"),
        "mean": np.zeros(3),
        "scale": np.ones(3),
        "weights": np.zeros((2, 3)),
        "bias": np.zeros(2),
    }
    LinearClassifier(**good)
    for name, value in (
        ("mean", np.zeros(4)),
        ("weights", np.zeros((3, 3))),
        ("weights", np.full((2, 3), np.nan)),
        ("bias", np.zeros(1)),
        ("scale", np.array([1, 0, 1.0])),
        ("classes", ("a",)),
    ):
        with pytest.raises(ValueError, match=r"fit|finite|scale"):
            LinearClassifier(**{**good, name: value})


def test_large_logits_are_no_trouble() -> None:
    found = softmax(np.array([[1e4, 0.0, -1e4], [3.0, 3.0, 3.0]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("seed", range(8))
def test_folds_keep_customers_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    _, labels, customers = clips(60, 2 + seed % 2, 4 + seed, seed)
    customers = [None if random.random() < 0.3 else one for one in customers]
    groups, codes = group_codes(customers), np.unique(labels, return_inverse=True)[1]
    for i, j in random.integers(0, 60, (200, 2)):
        alike = i == j or (customers[i] is not None and customers[i] == customers[j])
        assert (groups[i] == groups[j]) == alike
    folds = grouped_folds(codes, groups, 5)
    assert len(folds) > 1
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == list(range(60))
    for seen, test in folds:
        assert not set(groups[seen]) & set(groups[test])
        assert set(codes[seen]) == set(codes)


def test_quality_does_not_leak_between_customers() -> None:
    """Each customer has a voice and a label that has nothing to do with it: who has heard the
    customer knows the label, who has not can only guess."""
    random = np.random.default_rng(1)
    voices = random.standard_normal((24, 3 * D)) * 10
    who = np.repeat(np.arange(24), 8)
    embeddings = (voices[who] + random.standard_normal((len(who), 3 * D))).astype(np.float32)
    labels = [("a", "b")[k] for k in random.permutation(np.arange(24) % 2)[who]]
    honest = train(embeddings, labels, [f"c{i}" for i in who]).quality
    fooled = train(embeddings, labels, [None] * len(who)).quality
    assert honest.roc_auc.value < 0.75
    assert fooled.roc_auc.value > 0.9
    assert "192 of 192 labelled clips have no customer" in fooled.limits[-1]
    assert not honest.limits


def test_the_same_labels_give_the_same_classifier() -> None:
    given = clips(120, 3)
    first, second = train(*given), train(*given)
    np.testing.assert_array_equal(first.classifier.weights, second.classifier.weights)
    np.testing.assert_array_equal(first.classifier.bias, second.classifier.bias)
    assert first.quality == second.quality


def test_probabilities_are_calibrated() -> None:
    """Two normal distributions, of which the truth is known."""
    random = np.random.default_rng(3)
    codes = random.integers(0, 2, 1500)
    embeddings = random.standard_normal((1500, D)).astype(np.float32)
    embeddings[:, 0] += codes * 2
    labels = [str(k) for k in codes]
    one = train(embeddings, labels, [f"c{i % 50}" for i in range(1500)]).classifier
    asked = random.standard_normal((500, D)).astype(np.float32)
    asked[:, 0] += 1
    truth = 1 / (1 + np.exp(-(2 * asked[:, 0] - 2)))
    assert np.mean(np.abs(one.probabilities(asked)[:, 1] - truth)) < 0.04


def test_sharpness_is_the_best_one() -> None:
    random = np.random.default_rng(4)
    codes = random.integers(0, 3, 300)
    logits = random.standard_normal((300, 3)) + 2 * np.eye(3)[codes]
    clips_of = np.bincount(codes)
    targets = np.where(
        np.eye(3)[codes] == 1,
        ((clips_of + 1) / (clips_of + 3))[codes][:, None],
        (1 / (clips_of + 3))[codes][:, None],
    )
    np.testing.assert_allclose(targets.sum(axis=1), 1)

    def loss(factor: float) -> float:
        return float(-np.mean(np.sum(targets * np.log(softmax(factor * logits)), axis=1)))

    factor, least = sharpness(5 * logits, codes)
    assert loss(factor * 5) == pytest.approx(least)
    assert least <= min(loss(one) for one in np.geomspace(0.1, 10, 200)) + 1e-6


def test_classes_without_a_mistake_are_not_taken_for_certain() -> None:
    embeddings, labels, customers = clips(80, 2, apart=1000)
    one = train(embeddings, labels, customers).classifier
    probabilities = one.probabilities(embeddings)
    assert len(np.unique(probabilities[:, 1])) == 80  # they can still be ranked
    assert probabilities.max() < 0.9999


def test_figures_are_scikit_learns() -> None:
    random = np.random.default_rng(5)
    scores = random.integers(0, 12, 200) / 12  # with ties
    positive = random.random(200) < 0.2 + 0.4 * scores
    weights = random.integers(0, 4, 200).astype(np.float64)
    area, precision = Ranking(scores, positive).figures(weights)
    assert area == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
    expected = average_precision_score(positive, scores, sample_weight=weights)
    assert precision == pytest.approx(expected)


def test_quality_is_what_the_predictions_are_worth() -> None:
    random = np.random.default_rng(6)
    actual = random.integers(0, 3, 150)
    probabilities = softmax(random.standard_normal((150, 3)) + 1.5 * np.eye(3)[actual])
    groups = random.integers(0, 20, 150)
    told = measure(probabilities, actual, groups, "abc", folds=5)
    predicted = probabilities.argmax(axis=1)
    assert told.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(actual, predicted))
    assert told.f1.value == pytest.approx(f1_score(actual, predicted, average="macro"))
    assert told.roc_auc.value == pytest.approx(
        roc_auc_score(actual, probabilities, multi_class="ovr", average="macro")
    )
    assert told.accuracy == pytest.approx(np.mean(predicted == actual))
    assert told.majority_share == np.bincount(actual).max() / 150
    assert told.majority_class == "abc"[np.bincount(actual).argmax()]
    for k, name in enumerate("abc"):
        one = told.classes[name]
        assert (one.clips, one.share) == (np.sum(actual == k), np.mean(actual == k))
        assert one.groups == len(set(groups[actual == k]))
        assert one.recall == pytest.approx(np.mean(predicted[actual == k] == k))
        assert one.average_precision == pytest.approx(
            average_precision_score(actual == k, probabilities[:, k])
        )
        for j, other in enumerate("abc"):
            assert told.confusion[name][other] == np.sum((actual == k) & (predicted == j))
    for one in (told.roc_auc, told.average_precision, told.balanced_accuracy, told.f1):
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high


def test_the_interval_is_wide_where_clips_are_of_few_customers() -> None:
    """Each customer's clips are ten copies of one: as clips they are many, as news they are few."""
    random = np.random.default_rng(7)
    actual = np.repeat(np.arange(16) % 2, 10)
    noise = np.repeat(random.standard_normal(16), 10)
    probabilities = softmax(np.stack([-noise, noise + actual], axis=1))
    customers = np.repeat(np.arange(16), 10)
    by_customer = measure(probabilities, actual, customers, "ab", folds=5).roc_auc
    by_clip = measure(probabilities, actual, np.arange(160), "ab", folds=5).roc_auc
    assert by_customer.high is not None
    assert by_customer.low is not None
    assert by_clip.high is not None
    assert by_clip.low is not None
    assert by_customer.high - by_customer.low > 2 * (by_clip.high - by_clip.low)


def test_too_few_customers_for_an_interval() -> None:
    actual = np.repeat(np.arange(10) % 2, 5)
    probabilities = softmax(np.stack([-actual, actual], axis=1) * 1.0)
    customers = np.repeat(np.arange(10), 5)
    enough = measure(probabilities, actual, customers, "ab", folds=2)
    assert (enough.roc_auc.value, enough.roc_auc.low, enough.roc_auc.high) == (1, 1, 1)
    few = measure(probabilities[:45], actual[:45], customers[:45], "ab", folds=2)
    assert (few.roc_auc.value, few.roc_auc.low, few.roc_auc.high) == (1, None, None)
    assert "'b' are of 4 customers" in " ".join(few.limits)
    assert "Only 20" not in " ".join(few.limits)
    fewer = measure(probabilities[:15], actual[:15], customers[:15], "ab", folds=2)
    assert "Only 5 clips are labelled 'b'." in fewer.limits


def test_what_cannot_be_trained_or_measured_is_refused() -> None:
    embeddings, labels, customers = clips(60, 2)
    with pytest.raises(InvalidParameter, match="all 'x'"):
        train(embeddings, ["x"] * 60, customers)
    alone = [
        customer if label == "class 0" else "one"
        for label, customer in zip(labels, customers, strict=True)
    ]
    with pytest.raises(InvalidParameter, match=r"'class 1' \(\d+\) are of one customer"):
        train(embeddings, labels, alone)
    with pytest.raises(InvalidParameter, match="60 kinds"):
        train(embeddings, [str(i) for i in range(60)], customers)


def test_two_customers_are_enough() -> None:
    embeddings, labels, _ = clips(40, 2, apart=20)
    told = train(embeddings, labels, ["a", "b"] * 20)
    assert told.quality.folds == 2
    assert told.quality.roc_auc.value > 0.8
    assert sum("of 2 customers" in limit for limit in told.quality.limits) == 2


def test_it_is_given_up_when_somebody_says_so() -> None:
    calls = []

    def go_on() -> None:
        calls.append(None)
        if len(calls) == 4:
            raise KeyError

    with pytest.raises(KeyError):
        train(*clips(60, 2), go_on)
    assert len(calls) == 4
