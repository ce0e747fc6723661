"""How well predicted probabilities agree with labels, with an interval by groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.analysis.classifier import Floats

RESAMPLES = 500  # of the bootstrap
LEAST_GROUPS = 5  # that have a class; with fewer there is no interval
INTERVAL = (2.5, 97.5)  # percentiles
FEW_GROUPS = 10  # that have a class; with fewer the figures are told to be uncertain
FEW_CLIPS = 20  # of a class; likewise

Codes = NDArray[np.int64]  # (n,) numbers of classes, or of groups


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval, which is None where groups are too few for one."""

    value: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClassQuality:
    """Of one class against all others. `share` is the average precision of guessing."""

    clips: int
    groups: int  # that have clips of it
    share: float
    roc_auc: float
    average_precision: float
    precision: float | None  # None where it was never predicted
    recall: float
    f1: float


@dataclasses.dataclass(frozen=True, slots=True)
class Quality:
    """Of predictions for clips of groups that training had not seen.

    ROC AUC, average precision and F1 are means over the classes, balanced accuracy is the mean of
    their recalls. Predicted is the most probable class. `confusion[actual][predicted]` counts
    clips. `majority_share` is the accuracy of always saying the most frequent class.
    """

    clips: int
    groups: int
    folds: int
    roc_auc: Estimate
    average_precision: Estimate
    balanced_accuracy: Estimate
    f1: Estimate
    accuracy: float
    majority_class: str
    majority_share: float
    classes: dict[str, ClassQuality]
    confusion: dict[str, dict[str, int]]
    limits: tuple[str, ...]  # why these figures may be wrong, for people


def measure(
    probabilities: Floats,
    actual: Codes,
    groups: Codes,
    classes: Sequence[str],
    *,
    folds: int,
    alone: int = 0,
) -> Quality:
    """Compare (n, K) probabilities, each made without the clip's group, with the (n,) classes.

    The interval is the percentile bootstrap over groups: clips of one customer are alike.

    Args:
        groups: (n,).
        alone: clips that are a group only because nobody said whose they are.
    """
    ranked = [Ranking(probabilities[:, k], actual == k) for k in range(len(classes))]
    predicted = probabilities.argmax(axis=1)
    everything = np.ones(len(actual))
    names = ("roc_auc", "average_precision", "balanced_accuracy", "f1")
    found = _figures(ranked, actual, predicted, everything)
    lows, highs = _intervals(ranked, actual, predicted, groups)
    counts = confusion_counts(actual, predicted, everything, len(classes))
    clips = counts.sum(axis=1)
    of_class = {
        name: _of_class(k, ranked[k], counts, everything, len(np.unique(groups[actual == k])))
        for k, name in enumerate(classes)
    }
    largest = int(clips.argmax())
    return Quality(
        clips=len(actual),
        groups=len(np.unique(groups)),
        folds=folds,
        **{
            name: Estimate(float(value), low, high)
            for name, value, low, high in zip(names, found, lows, highs, strict=True)
        },
        accuracy=float(np.trace(counts) / len(actual)),
        majority_class=classes[largest],
        majority_share=float(clips[largest] / len(actual)),
        classes=of_class,
        confusion={
            name: {other: int(counts[k, j]) for j, other in enumerate(classes)}
            for k, name in enumerate(classes)
        },
        limits=_limits(of_class, len(actual), alone),
    )


class Ranking:
    """Clips by falling probability of a class; equal ones share a place."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        self._positive = positive[self._order]

    def figures(self, weights: Floats) -> tuple[float, float]:
        """ROC AUC and average precision with (n,) weights of the clips, as
        sklearn.metrics.roc_auc_score and average_precision_score define them (which take a
        hundred times as long for each of a bootstrap's resamples)."""
        weighed = weights[self._order]
        hits = np.cumsum(weighed * self._positive)[self._last]
        taken = np.cumsum(weighed)[self._last]
        misses = taken - hits
        recall = np.concatenate(([0.0], hits / hits[-1]))
        fallout = np.concatenate(([0.0], misses / misses[-1]))
        area = np.sum(np.diff(fallout) * (recall[1:] + recall[:-1]) / 2)
        precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
        return float(area), float(np.sum(np.diff(recall) * precision))


def confusion_counts(actual: Codes, predicted: Codes, weights: Floats, count: int) -> Floats:
    """(K, K) weights of the clips by actual and predicted class."""
    cells = np.bincount(actual * count + predicted, weights, count * count)
    return cells.reshape(count, count).astype(np.float64)


def _figures(ranked: Sequence[Ranking], actual: Codes, predicted: Codes, weights: Floats) -> Floats:
    """(4,) ROC AUC, average precision, balanced accuracy, F1; every class must have a weight."""
    area, precision = np.mean([one.figures(weights) for one in ranked], axis=0)
    counts = confusion_counts(actual, predicted, weights, len(ranked))
    right, actually, told = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return np.array(
        [area, precision, np.mean(right / actually), np.mean(2 * right / (actually + told))]
    )


def _intervals(
    ranked: Sequence[Ranking], actual: Codes, predicted: Codes, groups: Codes
) -> tuple[list[float | None], list[float | None]]:
    """Lower and upper bounds of `_figures`."""
    _, groups = np.unique(groups, return_inverse=True)
    having = min(len(np.unique(groups[actual == k])) for k in range(len(ranked)))
    if having < LEAST_GROUPS:
        return [None] * 4, [None] * 4
    count = int(groups.max()) + 1
    random = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        weights = drawn[groups].astype(np.float64)
        if (np.bincount(actual, weights, len(ranked)) > 0).all():
            found.append(_figures(ranked, actual, predicted, weights))
    low, high = np.percentile(np.array(found), INTERVAL, axis=0)
    return low.tolist(), high.tolist()


def _of_class(
    k: int, ranking: Ranking, counts: Floats, weights: Floats, groups: int
) -> ClassQuality:
    area, precision = ranking.figures(weights)
    right, actually, told = counts[k, k], counts[k].sum(), counts[:, k].sum()
    return ClassQuality(
        clips=int(actually),
        groups=groups,
        share=float(actually / counts.sum()),
        roc_auc=area,
        average_precision=precision,
        precision=float(right / told) if told else None,
        recall=float(right / actually),
        f1=float(2 * right / (actually + told)),
    )


def _limits(classes: dict[str, ClassQuality], clips: int, alone: int) -> tuple[str, ...]:
    told = []
    for name, one in classes.items():
        if one.groups < FEW_GROUPS:
            told.append(
                f"Clips labelled {name!r} are of {one.groups} customers: how well those of others "
                "are told is uncertain."
            )
        if one.clips < FEW_CLIPS:
            told.append(f"Only {one.clips} clips are labelled {name!r}.")
    if alone:
        told.append(
            f"{alone} of {clips} labelled clips have no customer and count as a customer each: "
            "where several are of one person, the quality is told too high."
        )
    return tuple(told)
