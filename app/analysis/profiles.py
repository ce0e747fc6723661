"""What is said of each cluster: its emotions, its people, its weeks, and clips that show it."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import NONE, Facts
from app.domain import LABELS

Vectors = NDArray[np.float32]
Labels = NDArray[np.int32]

EXEMPLARS: Final = 20  # clips that show a cluster, best first; some may be deleted later
NEAR: Final = 100  # clips nearest to the centre that these are taken from
LEADERS: Final = 5  # customers, and agents, that are told
WEEK: Final = 7 * 86_400 * 1_000_000  # microseconds
MONDAY: Final = 4 * 86_400 * 1_000_000  # the first one after 1970 began, 5 January
MOST_WEEKS: Final = 260  # five years; what is older does not count for the trend
FEWEST_WEEKS: Final = 3  # that a slope is told of


@dataclasses.dataclass(frozen=True, slots=True)
class Leader:
    """A customer or an agent, by number: clips in the cluster, their share of its clips that have
    one, and how many times that person's share of all clips that is."""

    number: int
    clips: int
    share: float
    lift: float


@dataclasses.dataclass(frozen=True, slots=True)
class Trend:
    """Clips a week (w,) from the Monday (UTC, microseconds since 1970) of the first one on. The
    slope is the least squares one in clips a week each week, over the weeks that lie wholly between
    the first and the last clip of the run; None with fewer than FEWEST_WEEKS of them."""

    first_monday: int
    clips: tuple[int, ...]
    slope: float | None
    slope_error: float | None  # its standard error


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """One cluster. Rows are of the arrays that it was made from."""

    size: int
    share: float  # of all clips, outliers too
    emotions: tuple[float, ...]  # (9,) shares in LABELS order of the clips whose emotion is known
    emotions_known: int
    scores: tuple[float, ...] | None  # (9,) means
    mean_confidence: float | None
    cohesion: float  # mean cosine of the directions, on their axes, to the centre of these
    radius: float  # root mean square distance of features to their mean
    exemplars: tuple[int, ...]  # rows; the first is the medoid
    customers: tuple[Leader, ...]
    agents: tuple[Leader, ...]
    trend: Trend

    @property
    def dominant(self) -> int:
        """Place in LABELS of the commonest emotion; NONE where none is known."""
        return int(np.argmax(self.emotions)) if self.emotions_known else NONE


def profiles(
    features: Vectors, directions: Vectors, facts: Facts, labels: Labels, now: int
) -> list[Profile]:
    """Of each cluster.

    Args:
        features, directions: (n, d) and (n, e).
        labels: (n,) 0 to k - 1, or NONE.
        now: microseconds since 1970; clips of later weeks do not count for trends.
    """
    weeks = _Weeks(facts.instants, now)
    count = int(labels.max(initial=NONE)) + 1
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(count + 1))
    return [
        _profile(order[ends[c] : ends[c + 1]], features, directions, facts, weeks)
        for c in range(count)
    ]


def centres(features: Vectors, labels: Labels) -> Vectors:
    """(k, d) means of features (n, d) by label."""
    count = int(labels.max(initial=NONE)) + 1
    means = [features[labels == c].mean(axis=0, dtype=np.float64) for c in range(count)]
    return np.array(means, np.float32).reshape(count, features.shape[1])


def _profile(
    rows: NDArray[np.int64],
    features: Vectors,
    directions: Vectors,
    facts: Facts,
    weeks: _Weeks,
) -> Profile:
    own = features[rows]
    squares = np.square(own - own.mean(axis=0, dtype=np.float64)).sum(axis=1)
    emotions = facts.emotions[rows]
    known = np.bincount(emotions[emotions != NONE], minlength=len(LABELS))
    scores = facts.scores[rows]
    scored = np.isfinite(scores).all(axis=1)
    confidences = facts.confidences[rows]
    sure = np.isfinite(confidences)
    return Profile(
        size=len(rows),
        share=len(rows) / len(features),
        emotions=tuple((known / max(known.sum(), 1)).tolist()),
        emotions_known=int(known.sum()),
        scores=tuple(scores[scored].mean(axis=0, dtype=np.float64).tolist())
        if scored.any()
        else None,
        mean_confidence=float(confidences[sure].mean(dtype=np.float64)) if sure.any() else None,
        cohesion=_cohesion(directions[rows]),
        radius=float(np.sqrt(squares.mean())),
        exemplars=tuple(rows[_exemplars(own, squares)].tolist()),
        customers=_leaders(facts.customers, rows),
        agents=_leaders(facts.agents, rows),
        trend=weeks.trend(rows),
    )


def _cohesion(directions: Vectors) -> float:
    centre = directions.mean(axis=0, dtype=np.float64)
    lengths = np.sqrt(np.vecdot(directions, directions)) * np.sqrt(centre @ centre)
    cosines = np.divide(
        directions @ centre, lengths, out=np.zeros(len(directions)), where=lengths > 0
    )
    return float(cosines.mean())


def _exemplars(own: Vectors, squares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows (m,) of a cluster that show it: first the medoid, the clip with the least sum of squared
    distances to the others, which is the one nearest to the mean; then each time, of those near the
    mean, the one farthest from all before it."""
    near = np.argsort(squares, kind="stable")[:NEAR]
    chosen = [0]
    least = np.full(len(near), np.inf)
    while len(chosen) < min(EXEMPLARS, len(near)):
        least = np.minimum(least, np.square(own[near] - own[near[chosen[-1]]]).sum(axis=1))
        least[chosen] = -1.0
        chosen.append(int(least.argmax()))
    return near[chosen]


def _leaders(numbers: NDArray[np.int32], rows: NDArray[np.int64]) -> tuple[Leader, ...]:
    all_known = numbers[numbers != NONE]
    own = numbers[rows]
    own = own[own != NONE]
    if not len(own):
        return ()
    everywhere, here = np.bincount(all_known), np.bincount(own)
    first = np.argsort(-here, kind="stable")[:LEADERS]
    return tuple(
        Leader(
            number=int(n),
            clips=int(here[n]),
            share=float(here[n] / len(own)),
            lift=float(here[n] / len(own) / (everywhere[n] / len(all_known))),
        )
        for n in first
        if here[n]
    )


class _Weeks:
    """The week of each of n clips, counted from the first that counts."""

    def __init__(self, instants: NDArray[np.int64], now: int) -> None:
        past = instants[instants <= now]
        last = _week(past.max(initial=np.iinfo(np.int64).min)) if len(past) else 0
        first = max(_week(past.min()), last - MOST_WEEKS + 1) if len(past) else 0
        self._count = int(last - first + 1) if len(past) else 0
        self._first = int(first)
        self._weeks = _week(instants) - first
        self._counts = (instants <= now) & (self._weeks >= 0)
        counted = instants[self._counts]
        whole = np.arange(self._count) + first
        self._whole = (
            (whole * WEEK + MONDAY >= counted.min())
            & ((whole + 1) * WEEK + MONDAY <= counted.max())
            if len(counted)
            else np.empty(0, np.bool_)
        )

    def trend(self, rows: NDArray[np.int64]) -> Trend:
        weeks = self._weeks[rows][self._counts[rows]]
        clips = np.bincount(weeks, minlength=self._count)
        slope, error = _slope(clips[self._whole])
        return Trend(self._first * WEEK + MONDAY, tuple(clips.tolist()), slope, error)


def _week(instants: NDArray[np.int64]) -> NDArray[np.int64]:
    return (instants - MONDAY) // WEEK


def _slope(values: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Of the least squares line through values (w,), and its standard error."""
    if len(values) < FEWEST_WEEKS:
        return None, None
    times = np.arange(len(values)) - (len(values) - 1) / 2
    spread = float(times @ times)
    slope = float(times @ values) / spread
    residuals = values - values.mean() - slope * times
    error = float(np.sqrt(residuals @ residuals / (len(values) - 2) / spread))
    return slope, error
