"""Days put together and smoothed, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from app.analysis.timeline import Span, Timeline, timeline

DAYS = np.array(["2024-02-26", "2024-03-03", "2024-03-04", "2024-05-01"], "datetime64[D]")
CLIPS, HEARD, NEGATIVE, SCORED = (
    np.array(column) for column in ([3, 1, 2, 1], [2, 1, 2, 0], [1, 1, 0, 0], [2, 0, 2, 1])
)
SCORES = SCORED[:, None] * np.arange(1, 10) / 45


def told(span: Span, half_life: float = 7.0) -> Timeline:
    return timeline(DAYS, CLIPS, HEARD, NEGATIVE, SCORED, SCORES, span, half_life)


@pytest.mark.parametrize(
    ("span", "starts", "clips", "negative"),
    [
        ("day", DAYS.astype(str), [3, 1, 2, 1], [0.5, 1, 0, np.nan]),
        ("week", ["2024-02-26", "2024-03-04", "2024-04-29"], [4, 2, 1], [2 / 3, 0, np.nan]),
        ("month", ["2024-02-01", "2024-03-01", "2024-05-01"], [3, 3, 1], [0.5, 1 / 3, np.nan]),
    ],
)
def test_days_are_put_together(
    span: Span, starts: list[str], clips: list[int], negative: list[float]
) -> None:
    line = told(span)
    assert line.starts.astype(str).tolist() == list(starts)
    assert line.clips.tolist() == clips
    np.testing.assert_allclose(line.negative, negative)
    np.testing.assert_allclose(line.scores[-1], np.arange(1, 10) / 45)


def test_scores_are_means_over_those_that_have_them() -> None:
    line = told("day")
    assert np.isnan(line.scores[1]).all()
    np.testing.assert_allclose(line.scores[[0, 2, 3]], [np.arange(1, 10) / 45] * 3)


@pytest.mark.parametrize("half_life", [0.1, 7, 1000])
def test_a_clip_weighs_half_after_the_half_life(half_life: float) -> None:
    line = told("day", half_life)
    for place in range(len(DAYS)):
        weights = np.exp2(-(DAYS[place] - DAYS[: place + 1]).astype(float) / half_life)
        negative, heard = weights @ NEGATIVE[: place + 1], weights @ HEARD[: place + 1]
        assert line.smooth_negative[place] == pytest.approx(negative / heard)
    np.testing.assert_allclose(line.smooth_scores, [np.arange(1, 10) / 45] * 4)


def test_no_clips() -> None:
    none = np.zeros(0, np.int64)
    line = timeline(
        none.astype("datetime64[D]"), none, none, none, none, np.zeros((0, 9)), "week", 30
    )
    assert len(line.starts) == len(line.smooth_negative) == 0
