"""The mean that is removed, and when it has to be taken again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import index.build
from index.build import Engine
from index.contract import Ids, Vectors
from index.errors import InvalidIds, InvalidVectors, WrongDimension
from index.mean import (
    PRIOR_WEIGHT,
    SETTLED_SIZE,
    RunningMean,
    drift,
    needs_rebuild,
    shrunk_mean,
)
from index.row_files import RowFiles

ONES = np.ones(3, np.float32)


def test_the_prior_counts_for_its_weight_in_clips() -> None:
    assert shrunk_mean(4 * ONES, 30, 2 * ONES, 30).tolist() == [3, 3, 3]
    assert shrunk_mean(4 * ONES, 0, 2 * ONES).tolist() == [2, 2, 2]
    assert shrunk_mean(4 * ONES, 5, 2 * ONES, 0).tolist() == [4, 4, 4]
    assert shrunk_mean(4 * ONES, 0, 2 * ONES, 0).tolist() == [2, 2, 2]
    far = shrunk_mean(4 * ONES, 10**6, 2 * ONES)
    assert np.allclose(far, 4 - 2 * PRIOR_WEIGHT / 10**6, rtol=0, atol=1e-6)
    assert far.dtype == np.float32


def test_without_a_prior_the_mean_is_plain_from_two_clips_on() -> None:
    assert shrunk_mean(4 * ONES, 0, None).tolist() == [0, 0, 0]
    assert shrunk_mean(4 * ONES, 1, None).tolist() == [0, 0, 0]
    assert shrunk_mean(4 * ONES, 2, None).tolist() == [4, 4, 4]


def test_a_prior_of_another_model_is_refused() -> None:
    with pytest.raises(WrongDimension):
        shrunk_mean(ONES, 3, np.ones(1))


def test_running_mean_follows_what_is_counted() -> None:
    vectors = np.random.default_rng(0).standard_normal((500, 7)).astype(np.float32) + 50
    running = RunningMean(7)
    assert running.mean().tolist() == [0] * 7
    for start in range(0, 500, 90):
        running.add(vectors[start : start + 90])
    assert running.count == 500
    assert np.allclose(running.mean(), vectors.mean(axis=0, dtype=float), rtol=1e-14)
    running.remove(vectors[100:])
    assert running.count == 100
    assert np.allclose(running.mean(), vectors[:100].mean(axis=0, dtype=float), rtol=1e-12)
    with pytest.raises(InvalidVectors):
        running.add(np.full((2, 7), np.nan, np.float32))
    assert running.count == 100
    assert np.isfinite(running.mean()).all()


def test_equal_clips_have_exactly_their_own_mean() -> None:
    vectors = np.full((1000, 5), 0.1, np.float32)
    same = build(np.arange(1, 1001), vectors, None)
    assert same.mean.tolist() == vectors[0].tolist()
    assert same.search(vectors[:1], 3)[0].similarities.tolist() == [0, 0, 0]


def test_two_clips_are_not_opposites_when_there_is_a_prior() -> None:
    rng = np.random.default_rng(0)
    prior = 5 * rng.standard_normal(64).astype(np.float32)
    vectors = prior + rng.standard_normal((2, 64)).astype(np.float32)
    ids = np.array([1, 2])
    alone = build(ids, vectors, None).search(vectors[:1], 2)[0].similarities
    assert alone[0] == 1
    assert alone[1] < -0.9999
    shrunk = build(ids, vectors, prior).search(vectors[:1], 2)[0].similarities
    assert shrunk[0] == 1
    assert abs(shrunk[1]) < 0.4


def test_build_refuses_what_add_refuses() -> None:
    with pytest.raises(InvalidIds):
        build(np.array([1, 1]), np.ones((2, 3), np.float32), None)
    with pytest.raises(WrongDimension):
        build(np.array([1, 2]), np.ones(2, np.float32), None)
    assert len(build(np.array([], np.int64), np.ones((0, 3), np.float32), ONES)) == 0


def build(ids: Ids, vectors: Vectors, prior: Vectors | None) -> Engine:
    """Of a library that is small."""
    rows = RowFiles(Path("/nonexistent"))
    return index.build.build(lambda: [(ids, vectors)], vectors.shape[-1], prior, rows)


@pytest.mark.parametrize(
    ("built_on", "size", "wanted"),
    [
        (0, 0, False),
        (0, 1, True),
        (1, 0, True),
        (100, 100, False),
        (100, 149, False),
        (100, 150, True),
        (100, 51, False),
        (100, 50, True),
        (SETTLED_SIZE, 100 * SETTLED_SIZE, False),
        (100 * SETTLED_SIZE, SETTLED_SIZE, False),
        (100 * SETTLED_SIZE, SETTLED_SIZE - 1, True),
    ],
)
def test_needs_rebuild(built_on: int, size: int, wanted: bool) -> None:
    assert needs_rebuild(built_on, size) is wanted


@given(st.lists(st.integers(-40, 60), max_size=300))
def test_rebuilding_is_rare_and_settles(changes: list[int]) -> None:
    assert not needs_rebuild(5, 5)
    size = built_on = rebuilds = 0
    while size < 20 * SETTLED_SIZE:
        size += max(1, size // 100)
        if needs_rebuild(built_on, size):
            built_on, rebuilds = size, rebuilds + 1
    assert rebuilds < 30
    assert SETTLED_SIZE / 1.5 <= built_on <= 2 * SETTLED_SIZE
    for change in changes:  # whatever happens, a build is never far from the library it serves
        size = max(0, size + change * max(1, size // 100))
        if needs_rebuild(built_on, size):
            built_on = size
        assert (
            min(size, built_on) >= SETTLED_SIZE
            or size == built_on
            or (0.5 * built_on < size < 1.5 * built_on)
        )


def test_drift_is_a_share_of_the_spread() -> None:
    vectors = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], np.float32)  # 5 from their mean, squared
    assert drift(np.zeros(2), vectors, 4, None) == 0
    assert drift(np.array([0.0, 0.5]), vectors, 4, None) == pytest.approx(0.05)
    assert drift(np.array([20.0, 20.5]), vectors + 20, 4, None) == pytest.approx(0.05)


@pytest.mark.parametrize("size", [2, 20, 500])
def test_a_build_of_today_has_not_drifted(size: int) -> None:
    vectors = np.random.default_rng(size).standard_normal((size, 9)).astype(np.float32) + 3
    fresh = build(np.arange(1, size + 1), vectors, 100 * np.ones(9, np.float32))
    assert drift(fresh.mean, vectors, size, 100 * np.ones(9, np.float32)) < 1e-6


def test_equal_clips_have_drifted_once_they_are_others() -> None:
    vectors = np.ones((4, 3), np.float32)
    assert drift(ONES, vectors, 4, None) == 0
    assert drift(2 * ONES, vectors, 4, None) > 1e6


@pytest.mark.parametrize("true", [0.0, 0.001, 0.01])
def test_what_a_sample_errs_by_is_taken_off(true: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20_000, 12)).astype(np.float32) + 2
    mean = vectors.mean(axis=0, dtype=float)
    of = mean + np.sqrt(true * vectors.var(axis=0, dtype=float))
    samples = [vectors[rng.choice(len(vectors), 500, replace=False)] for _ in range(300)]
    found = [drift(of, sample, len(vectors), None) for sample in samples]
    assert np.mean(found) == pytest.approx(true, abs=3 * np.std(found) / 300**0.5)
    assert np.std(found) < 0.01
