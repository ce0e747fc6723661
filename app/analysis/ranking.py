"""Which clusters want attention first: many clips, negative ones, becoming more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

NEGATIVE: Final = ("angry", "disgusted", "fearful", "sad")
MOST_TREND: Final = 4.0  # times as many; its inverse is the least


def negativity(emotions: Mapping[str, float]) -> float | None:
    """Share of NEGATIVE among clips, or shares, by emotion; None where there are none."""
    known = sum(emotions.values())
    return sum(emotions.get(label, 0) for label in NEGATIVE) / known if known else None


def growth(clips: int, before: int, length: float | None, length_before: float | None) -> float:
    """How many times as many clips as in the period before: per day where the lengths of both
    periods (days) are known. One clip is added to each, so that few clips say little."""
    ratio = (clips + 1) / (before + 1)
    if length and length_before:
        ratio *= length_before / length
    return _bounded(ratio)


def rise(clips: Sequence[int], slope: float | None) -> float:
    """Where there is no period before: the line through clips a week at its end, beside its mean.
    1 where the weeks are too few for a line."""
    mean = sum(clips) / len(clips) if clips else 0.0
    if slope is None or not mean:
        return 1.0
    return _bounded((mean + slope * (len(clips) - 1) / 2) / mean)


def priority(volume: float, negative: float | None, trend: float) -> float:
    """volume × negativity × trend; a negativity that is not known counts as none."""
    return volume * (negative or 0.0) * trend


def _bounded(ratio: float) -> float:
    return min(max(ratio, 1 / MOST_TREND), MOST_TREND)
