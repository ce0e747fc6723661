"""The map: alike clips near each other, the same each time, and never flipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis import projection
from app.analysis.alignment import turned
from app.analysis.projection import project
from tests.analysis.test_clustering import blobs


def purity(coordinates: np.ndarray, labels: np.ndarray) -> float:
    """Share of clips whose nearest on the map has their label."""
    apart = np.linalg.norm(coordinates[:, None] - coordinates, axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((labels[apart.argmin(axis=1)] == labels).mean())


def test_alike_clips_are_near_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "PLACED", 200)
    features, labels = blobs(500, 5)
    rows, coordinates = project(features, 1)
    np.testing.assert_array_equal(rows, np.arange(500))
    assert purity(coordinates, labels) > 0.98
    assert 0.9 <= np.abs(coordinates).max() <= 1.0


def test_many_clips_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST", 100)
    rows, coordinates = project(blobs(300, 3)[0], 2)
    assert len(rows) == len(set(rows.tolist())) == len(coordinates) == 100
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(("count", "width"), [(1, 3), (4, 3), (5, 3), (20, 1), (20, 3)])
def test_few_clips_have_a_map_too(count: int, width: int) -> None:
    features = np.random.default_rng(1).standard_normal((count, width)).astype(np.float32)
    _, coordinates = project(features, 0)
    assert coordinates.shape == (count, 2)
    assert np.isfinite(coordinates).all()


def test_clips_that_are_all_the_same_have_a_map() -> None:
    _, coordinates = project(np.ones((30, 4), np.float32), 0)
    assert np.isfinite(coordinates).all()


@given(st.floats(0, 7), st.booleans(), st.integers(0, 1000))
def test_a_turned_map_is_turned_back(angle: float, mirrored: bool, seed: int) -> None:
    before = np.random.default_rng(seed).standard_normal((30, 2)).astype(np.float32)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    now = (before @ turn * [1, -1 if mirrored else 1]).astype(np.float32)
    np.testing.assert_allclose(turned(now, now[:10], before[:10]), before, atol=1e-4)


def test_too_few_anchors_turn_nothing() -> None:
    now = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    assert turned(now, now[:2], -now[:2]) is now
