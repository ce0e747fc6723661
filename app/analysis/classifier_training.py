"""Train a linear classifier on embeddings, and measure it on customers that it did not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from app.analysis.blas_threads import one_thread
from app.analysis.classifier import Floats, LinearClassifier
from app.analysis.classifier_quality import Codes, Quality, measure
from app.errors import InvalidParameter

OUTER_FOLDS = 5  # that quality is measured with
INNER_FOLDS = 4  # that the regularisation is chosen with
MAX_CLASSES = 20
# Inverse strengths of the L2 penalty, as LogisticRegression has them, and the one that is taken
# where labels are too few to choose.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
DEFAULT_STRENGTH = 1e-2
SHARPNESS = np.log([1 / 32, 32.0])  # least and most, of their logarithm
SEED = 0

Embeddings = NDArray[np.float32]  # (n, D)
Fold = tuple[Codes, Codes]  # places of the clips to train with, and of those to test with


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """A classifier of all the clips, and the quality of others that were trained without the
    customers they were measured on."""

    classifier: LinearClassifier
    quality: Quality


@one_thread()
def train(
    embeddings: Embeddings,
    labels: Sequence[str],
    customers: Sequence[str | None],
    go_on: Callable[[], None] = lambda: None,
) -> Trained:
    """Logistic regression on standardised embeddings (n, D), with one label and one customer each.

    The strength of the L2 penalty is the one with the least log loss in an inner cross-validation;
    the same predictions give the factor that makes probabilities as sharp as they are right
    (temperature scaling: Guo et al. 2017, with the smoothed targets of Platt 1999, which keep it
    finite where the classes can be told apart without a mistake). The quality is that of an outer
    cross-validation, in which all of this is done anew without the clips that are tested. No
    customer's clips are in training and test at once; a clip without one is a group of its own.
    The same arguments give the same answer.

    Args:
        embeddings: finite.
        go_on: called between the fits, every second or so; what it raises ends the training.

    Raises:
        InvalidParameter: fewer than two classes or too many, or the clips of one are of a single
            customer, so that nothing could be measured.
    """
    classes = sorted(set(labels))
    numbers = {name: number for number, name in enumerate(classes)}
    codes = np.array([numbers[label] for label in labels], np.int64)
    groups = group_codes(customers)
    _check(classes, codes, groups)
    folds = grouped_folds(codes, groups, OUTER_FOLDS)
    if not folds:
        raise InvalidParameter(
            "labels",
            "the clips cannot be divided by customers so that every part has all labels; label "
            "clips of more customers.",
        )
    unseen = np.empty((len(codes), len(classes)))
    for seen, tested in folds:
        fitted = _fit(embeddings[seen], codes[seen], groups[seen], classes, go_on)
        unseen[tested] = fitted.probabilities(embeddings[tested])
    classifier = _fit(embeddings, codes, groups, classes, go_on)
    quality = measure(
        unseen,
        codes,
        groups,
        classes,
        folds=len(folds),
        alone=sum(customer is None for customer in customers),
    )
    return Trained(classifier, quality)


def group_codes(customers: Sequence[str | None]) -> Codes:
    """(n,) a number for each customer, and one of its own for each clip without."""
    numbers: dict[str | int, int] = {}
    return np.array(
        [
            numbers.setdefault(place if customer is None else customer, len(numbers))
            for place, customer in enumerate(customers)
        ],
        np.int64,
    )


def grouped_folds(codes: Codes, groups: Codes, most: int) -> list[Fold]:
    """Up to `most` folds that keep groups together and classes in proportion, with every class in
    each training part; empty where there are none such."""
    count = int(codes.max()) + 1
    spread = min(len(np.unique(groups[codes == k])) for k in range(count))
    # The same where each clip is a group, and not a second for every ten thousand of them.
    apart = len(np.unique(groups)) == len(groups)
    kind, told = (StratifiedKFold, None) if apart else (StratifiedGroupKFold, groups)
    for number in range(min(most, spread), 1, -1):
        splitter = kind(number, shuffle=True, random_state=SEED)
        folds: list[Fold] = list(splitter.split(codes, codes, told))
        if all(len(test) and len(np.unique(codes[seen])) == count for seen, test in folds):
            return folds
    return []


def sharpness(logits: Floats, codes: Codes) -> tuple[float, float]:
    """The factor t for logits (n, K), and the log loss of softmax(t · logits) with it.

    The targets are Platt's: (n_k + 1) / (n_k + K) for the class k that a clip has, of which there
    are n_k, and the rest in equal parts for the others.
    """
    count = logits.shape[1]
    clips = np.bincount(codes, minlength=count)
    right = (clips + 1) / (clips + count)
    targets = np.repeat((1 / (clips + count))[codes][:, None], count, axis=1)
    targets[np.arange(len(codes)), codes] = right[codes]

    def loss(log_factor: float) -> float:
        scaled = np.exp(log_factor) * logits
        top = scaled.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(scaled - top).sum(axis=1, keepdims=True))
        return float(np.mean(np.sum(targets * (total - scaled), axis=1)))

    least = minimize_scalar(loss, bounds=SHARPNESS, method="bounded")
    return float(np.exp(least.x)), float(least.fun)


def _check(classes: list[str], codes: Codes, groups: Codes) -> None:
    if len(classes) < 2:
        raise InvalidParameter("labels", f"are all {classes[0]!r}; two different ones are needed.")
    if len(classes) > MAX_CLASSES:
        raise InvalidParameter("labels", f"are of {len(classes)} kinds, {MAX_CLASSES} are allowed.")
    for k, name in enumerate(classes):
        if len(np.unique(groups[codes == k])) < 2:
            raise InvalidParameter(
                "labels",
                f"the clips labelled {name!r} ({int(np.sum(codes == k))}) are of one customer; "
                "clips of two are needed, to measure with one what was learnt from the other.",
            )


def _fit(
    embeddings: Embeddings,
    codes: Codes,
    groups: Codes,
    classes: Sequence[str],
    go_on: Callable[[], None],
) -> LinearClassifier:
    strength, factor = _chosen(embeddings, codes, groups, go_on)
    go_on()
    scaler = StandardScaler().fit(embeddings)
    regression = _regression().set_params(C=strength).fit(scaler.transform(embeddings), codes)
    weights, bias = regression.coef_, regression.intercept_
    if len(classes) == 2:  # one row, of the second against the first
        weights, bias = np.vstack([0 * weights, weights]), np.append(0, bias)
    return LinearClassifier(
        tuple(classes),
        scaler.mean_.astype(np.float64),
        scaler.scale_.astype(np.float64),
        factor * weights.astype(np.float64),
        factor * bias.astype(np.float64),
    )


def _chosen(
    embeddings: Embeddings, codes: Codes, groups: Codes, go_on: Callable[[], None]
) -> tuple[float, float]:
    """The strength of the penalty with the least loss on groups left out, and its sharpness."""
    folds = grouped_folds(codes, groups, INNER_FOLDS)
    if not folds:
        return DEFAULT_STRENGTH, 1.0
    logits = np.zeros((len(STRENGTHS), len(codes), int(codes.max()) + 1))
    for seen, tested in folds:
        scaler = StandardScaler().fit(embeddings[seen])
        learnt, asked = scaler.transform(embeddings[seen]), scaler.transform(embeddings[tested])
        regression = _regression()
        for number, strength in enumerate(STRENGTHS):
            go_on()
            regression.set_params(C=strength).fit(learnt, codes[seen])
            decided = regression.decision_function(asked)
            if decided.ndim == 1:  # of the second class against the first
                logits[number, tested, 1] = decided
            else:
                logits[number, tested] = decided
    factors, losses = zip(*(sharpness(one, codes) for one in logits), strict=True)
    best = int(np.argmin(losses))
    return STRENGTHS[best], factors[best]


def _regression() -> LogisticRegression:
    """Begins each fit where the last one ended: the next weaker penalty is near."""
    return LogisticRegression(max_iter=1000, warm_start=True)
