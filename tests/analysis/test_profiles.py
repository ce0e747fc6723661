"""What is said of clusters: counted anew in the plainest way; and their names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis import profiles as module
from app.analysis.clustering import _by_size
from app.analysis.facts import NONE, Facts
from app.analysis.naming import names
from app.analysis.profiles import WEEK, Leader, Profile, Trend, centres, profiles
from app.domain import LABELS
from tests.analysis.voices import DAY, voices

NOW = 20_000 * DAY


def facts(n: int, **changes: np.ndarray) -> Facts:
    plain = Facts(
        np.full((n, 9), np.nan, np.float32),
        np.full(n, NONE, np.int8),
        np.full(n, np.nan, np.float32),
        np.zeros(n, np.int64),
        np.full(n, NONE, np.int32),
        np.full(n, NONE, np.int32),
    )
    return plain._replace(**changes)


def of(labels: list[int], told: Facts, features: np.ndarray | None = None) -> list[Profile]:
    made = np.zeros((len(labels), 2), np.float32) if features is None else features
    return profiles(made, made, told, np.array(labels, np.int32), NOW)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5))
def test_numbers_are_those_of_the_clips(seed: int, count: int, k: int) -> None:
    random = np.random.default_rng(seed)
    made = voices(count, seed)
    labels = _by_size(random.integers(NONE, k, size=count).astype(np.int32))
    found = profiles(made.vectors, made.vectors, made.facts, labels, NOW)
    assert len(found) == labels.max() + 1
    for number, one in enumerate(found):
        rows = np.flatnonzero(labels == number)
        assert one.size == len(rows) > 0
        assert one.share == len(rows) / count
        own = made.facts.emotions[rows]
        np.testing.assert_allclose(one.emotions, [(own == e).mean() for e in range(9)])
        assert one.mean_confidence == pytest.approx(made.facts.confidences[rows].mean(), rel=1e-5)
        assert one.scores == pytest.approx(made.facts.scores[rows].mean(axis=0), rel=1e-4)
        assert set(one.exemplars) <= set(rows.tolist())
        assert len(set(one.exemplars)) == len(one.exemplars) == min(20, len(rows))
        squares = [np.square(made.vectors[rows] - made.vectors[r]).sum() for r in rows]
        assert np.square(made.vectors[rows] - made.vectors[one.exemplars[0]]).sum() <= min(
            squares
        ) * (1 + 1e-4)
        for leaders, numbers in (
            (one.customers, made.facts.customers),
            (one.agents, made.facts.agents),
        ):
            known = numbers[rows][numbers[rows] != NONE]
            everywhere = numbers[numbers != NONE]
            counts = sorted((int((known == n).sum()) for n in set(known.tolist())), reverse=True)
            assert [leader.clips for leader in leaders] == counts[:5]
            for leader in leaders:
                assert leader.clips == (known == leader.number).sum()
                assert leader.share == leader.clips / len(known)
                assert leader.lift == pytest.approx(
                    leader.share / (everywhere == leader.number).mean()
                )
        assert sum(one.trend.clips) == len(rows)
    middles = centres(made.vectors, labels)
    for number in range(len(found)):
        own = made.vectors[labels == number]
        np.testing.assert_allclose(middles[number], own.mean(axis=0), rtol=1e-4)


def test_what_is_not_known_is_not_counted() -> None:
    emotions = np.array([0, 0, NONE, NONE], np.int8)
    confidences = np.array([0.5, np.nan, np.nan, np.nan], np.float32)
    known, unknown = of([0, 0, 1, 1], facts(4, emotions=emotions, confidences=confidences))
    assert (known.dominant, known.emotions_known, known.mean_confidence) == (0, 2, 0.5)
    assert (unknown.dominant, unknown.emotions_known, unknown.mean_confidence) == (NONE, 0, None)
    assert (unknown.scores, unknown.customers, unknown.agents) == (None, (), ())
    assert sum(unknown.emotions) == 0


def test_exemplars_are_unlike_each_other() -> None:
    copies = np.tile([[1.0, 0.0]], (60, 1))
    others = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0.5, 6, 10)]) * 1.2
    features = np.vstack([copies, others]).astype(np.float32)
    [one] = of([0] * 70, facts(70), features)
    assert len({tuple(features[row]) for row in one.exemplars[:5]}) == 5


def test_cohesion_is_the_cosine_to_the_centre() -> None:
    features = np.array([[2, 0], [0, 3], [1, 1]], np.float32)
    [one] = of([0, 0, 0], facts(3), features)
    centre = features.mean(axis=0)
    cosines = features @ centre / np.linalg.norm(features, axis=1) / np.linalg.norm(centre)
    assert one.cohesion == pytest.approx(cosines.mean())


def weekly(counts: list[int]) -> Facts:
    """Clips in the middle of each of these weeks, and one at each end of the whole."""
    monday = module.MONDAY + 2000 * WEEK
    instants = [monday] + [
        monday + week * WEEK + WEEK // 2 for week, n in enumerate(counts) for _ in range(n)
    ]
    instants.append(monday + len(counts) * WEEK)
    return facts(len(instants), instants=np.array(instants, np.int64))


def test_the_slope_is_that_of_the_line_through_whole_weeks() -> None:
    counts = [10, 12, 14, 15, 19, 20]
    told = weekly(counts)
    [one] = of([0] * len(told.instants), told)
    assert one.trend.first_monday == module.MONDAY + 2000 * WEEK
    assert one.trend.clips == (11, 12, 14, 15, 19, 20, 1)  # the last one is not whole
    line, covariance = np.polyfit(range(6), one.trend.clips[:6], 1, cov=True)
    assert one.trend.slope == pytest.approx(line[0])
    assert one.trend.slope_error == pytest.approx(np.sqrt(covariance[0, 0]))


def test_few_weeks_have_no_slope() -> None:
    told = weekly([5, 6])
    [one] = of([0] * len(told.instants), told)
    assert (one.trend.slope, one.trend.slope_error) == (None, None)


def test_times_far_away_take_no_memory_and_no_part() -> None:
    told = weekly([5, 6, 7])
    odd = np.array([-62_000_000_000_000_000, 253_000_000_000_000_000], np.int64)  # years 5, 9987
    instants = np.concatenate([told.instants, odd])
    [one] = of([0] * len(instants), facts(len(instants), instants=instants))
    assert len(one.trend.clips) == module.MOST_WEEKS
    assert sum(one.trend.clips) == len(told.instants)


def test_no_time_before_now_is_no_error() -> None:
    [one] = of([0, 0], facts(2, instants=np.array([NOW + 1, NOW + 2], np.int64)))
    assert (one.trend.clips, one.trend.slope) == ((), None)


PLAIN = Profile(
    size=10,
    share=0.1,
    emotions=(1.0, *[0.0] * 8),
    emotions_known=10,
    scores=None,
    mean_confidence=0.6,
    cohesion=0.5,
    radius=1.0,
    exemplars=(0,),
    customers=(),
    agents=(),
    trend=Trend(0, (1,), None, None),
)


def mixed(**shares: float) -> tuple[float, ...]:
    return tuple(shares.get(label, 0.0) for label in LABELS)


def test_names_say_the_emotions() -> None:
    clusters = [
        PLAIN,
        dataclasses.replace(PLAIN, emotions=mixed(sad=0.6, neutral=0.4)),
        dataclasses.replace(PLAIN, emotions=mixed(sad=0.9, neutral=0.1)),
        dataclasses.replace(PLAIN, emotions=(0.0,) * 9, emotions_known=0),
    ]
    assert names(clusters) == ["angry", "sad and neutral", "sad", "emotion not known"]


def test_names_say_what_sets_apart() -> None:
    one_customer = (Leader(3, 8, 0.8, 4.0),)
    clusters = [
        dataclasses.replace(PLAIN, trend=Trend(0, (), 2.0, 0.1)),
        PLAIN,
        dataclasses.replace(PLAIN, customers=one_customer),
        dataclasses.replace(PLAIN, mean_confidence=0.9),
        PLAIN,
    ]
    assert names(clusters) == [
        "angry, rising",
        "angry (1)",
        "angry, mostly one customer",
        "angry, clear",
        "angry (2)",
    ]


profile = st.builds(
    lambda emotion, confidence, slope, lift, second: dataclasses.replace(
        PLAIN,
        emotions=mixed(**{LABELS[emotion]: 1 - second, LABELS[(emotion + 1) % 9]: second}),
        mean_confidence=confidence,
        trend=Trend(0, (), slope, 0.1),
        customers=(Leader(0, 5, 0.6, lift),),
    ),
    st.integers(0, 8),
    st.none() | st.floats(0, 1),
    st.floats(-1, 1),
    st.floats(0.1, 5),
    st.floats(0, 0.5),
)


@given(st.lists(profile, max_size=12))
def test_no_name_twice(clusters: list[Profile]) -> None:
    found = names(clusters)
    assert len(set(found)) == len(clusters)
    assert names(clusters) == found
