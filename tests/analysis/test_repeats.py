"""How near is near, and what is alike."""

from __future__ import annotations

import numpy as np
import pytest

from app.analysis.repeats import (
    FEW,
    Thresholds,
    are_repeats,
    emotion_agreement,
    locality,
)

USUAL = Thresholds(nearness=0.9, emotion=0.9)


def are(similarity: float, same_customer: bool, agreement: float = 1.0, **changes: float) -> bool:
    """Of a clip whose third and tenth neighbours are 0.8 and 0.5 alike, and another's 0.6, 0.4."""
    thresholds = Thresholds(**{"nearness": 0.9, "emotion": 0.9, **changes})
    [found] = are_repeats(
        np.array([similarity]),
        np.array([agreement]),
        np.array([same_customer]),
        np.array([0.8, 0.5]),
        np.array([[0.6, 0.4]]),
        thresholds,
    )
    return bool(found)


def test_a_customers_clips_are_nearly_as_near_as_the_tenth_neighbour_of_either() -> None:
    assert are(0.37, True)
    assert not are(0.35, True)
    assert are(0.35, True, nearness=0.8)


def test_of_strangers_each_is_among_the_nearest_of_the_other() -> None:
    assert are(0.81, False)
    assert not are(0.79, False)  # the other's third neighbour is farther: not the clip's own


@pytest.mark.parametrize("same_customer", [True, False])
def test_other_emotions_are_no_repeats(same_customer: bool) -> None:
    assert are(0.95, same_customer, agreement=0.91)
    assert not are(0.95, same_customer, agreement=0.89)
    assert are(0.95, same_customer, agreement=0.89, emotion=0.8)


def test_locality_is_of_the_third_and_the_tenth() -> None:
    falling = np.linspace(1, 0.1, 10)
    assert locality(falling).tolist() == [falling[2], falling[9]]
    assert locality(np.array([0.9, 0.8])).tolist() == [0.8, 0.8]
    assert locality(np.array([0.9, 0.1])).tolist() == [FEW, FEW]
    assert locality(np.array([0.9, 0.3, 0.2, 0.1])).tolist() == [0.2, FEW]
    assert locality(np.zeros(0)).tolist() == [FEW, FEW]


def test_emotion_agreement_is_bhattacharyyas() -> None:
    found = emotion_agreement(
        np.array([0.5, 0.5, 0.0]), np.array([[2.0, 2.0, 0], [0, 0, 1], [0.5, 0, 0.5]])
    )
    np.testing.assert_allclose(found, [1.0, 0.0, 0.5])
