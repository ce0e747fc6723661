"""What a customer's clips say over time, smoothed."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Span = Literal["day", "week", "month"]

Dates = NDArray[np.datetime64]
Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """Spans of time in which there were clips, in rising order: (s,) each, scores (s, 9). What no
    clip tells is NaN."""

    starts: Dates  # first days, in UTC; weeks begin on Monday
    clips: Numbers
    heard: Numbers  # clips whose emotion is known
    negative: Reals  # share of those
    smooth_negative: Reals
    scores: Reals  # means over the clips that have scores
    smooth_scores: Reals


def timeline(
    days: Dates,
    clips: Numbers,
    heard: Numbers,
    negative: Numbers,
    scored: Numbers,
    scores: Reals,
    span: Span,
    half_life: float,
) -> Timeline:
    """Days put together to longer spans, and smoothed.

    Smoothed is the mean over all clips so far, where a clip weighs half as much as one of
    `half_life` days later: exponential smoothing of what comes at irregular times (D. J. Wright,
    "Forecasting data published at irregular time intervals using an extension of Holt's method",
    Management Science 32, 1986), by its weights.

    Args:
        days: (d,) rising.
        clips, heard, negative, scored: (d,) numbers of clips; of those heard some are negative,
            `scored` have scores.
        scores: (d, 9) their sums.
        half_life: days, > 0.
    """
    starts, which = np.unique(_starts(days, span), return_inverse=True)
    columns = np.column_stack([clips, heard, negative, scored, scores]).astype(float)
    summed = np.zeros((len(starts), columns.shape[1]))
    np.add.at(summed, which, columns)
    ages = np.diff(starts.astype("datetime64[D]").astype(np.int64), prepend=0)
    smooth = np.zeros_like(summed)
    so_far = np.zeros(summed.shape[1])
    for place, weight in enumerate(np.exp2(-ages / half_life) if len(starts) else ()):
        so_far = so_far * (weight if place else 0.0) + summed[place]
        smooth[place] = so_far
    return Timeline(
        starts=starts,
        clips=summed[:, 0].astype(np.int64),
        heard=summed[:, 1].astype(np.int64),
        negative=_ratio(summed[:, 2], summed[:, 1]),
        smooth_negative=_ratio(smooth[:, 2], smooth[:, 1]),
        scores=_ratio(summed[:, 4:], summed[:, 3:4]),
        smooth_scores=_ratio(smooth[:, 4:], smooth[:, 3:4]),
    )


def _starts(days: Dates, span: Span) -> Dates:
    """First day of the span that each day is in."""
    if span == "month":
        return days.astype("datetime64[M]").astype("datetime64[D]")
    if span == "week":
        since_monday = (days.astype(np.int64) + 3) % 7  # day 0, 1970-01-01, is a Thursday
        mondays: Dates = days - since_monday.astype("timedelta64[D]")
        return mondays
    return days


def _ratio(part: Reals, whole: Reals) -> Reals:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=np.broadcast_to(whole > 0, part.shape))
    return ratio
