"""What wants attention first."""

from __future__ import annotations

import pytest

from app.analysis.ranking import growth, negativity, priority, rise


def test_negativity_is_the_share_of_negative_emotions() -> None:
    assert negativity({"angry": 3, "sad": 1, "happy": 4}) == 0.5
    assert negativity({"neutral": 2}) == 0.0
    assert negativity({}) is None


def test_growth_is_per_day_where_both_lengths_are_known() -> None:
    assert growth(199, 99, None, None) == 2.0
    assert growth(199, 99, 14.0, 7.0) == 1.0
    assert growth(99, 199, None, 7.0) == 0.5


def test_growth_is_bounded_and_says_little_of_few_clips() -> None:
    assert growth(1000, 0, None, None) == 4.0
    assert growth(0, 1000, None, None) == 0.25
    assert growth(2, 1, None, None) == 1.5


def test_rise_is_the_line_at_its_end_beside_its_mean() -> None:
    assert rise([10, 20, 30], 10.0) == 1.5
    assert rise([30, 20, 10], -10.0) == 0.5
    assert rise([10, 10], None) == 1.0
    assert rise([0, 0, 0], 0.0) == 1.0


def test_priority_multiplies() -> None:
    assert priority(0.5, 0.4, 2.0) == pytest.approx(0.4)
    assert priority(0.5, None, 2.0) == 0.0
