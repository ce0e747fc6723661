"""Long clips into segments of 1 to 30 s, cut at pauses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.domain import HOP, SAMPLE_RATE, Waveform
from app.recogniser import silero

SHORTEST = SAMPLE_RATE  # samples
LONGEST = 30 * SAMPLE_RATE  # samples, with the OVERLAP
OVERLAP = 80  # samples of the next segment that the last frame needs: the window less the hop
PAUSE = 11  # hops of 20 ms that a pause should have
LATENESS = 512  # samples by which Silero's probabilities lag behind the sound (measured)

_SHORTEST_HOPS = SHORTEST // HOP
_LONGEST_HOPS = (LONGEST - OVERLAP) // HOP

Bounds = tuple[int, int]  # first sample, and the one behind the last


def segments(waveform: Waveform, go_on: Callable[[], None] = lambda: None) -> list[Bounds]:
    """Tiles a clip: one segment up to 30 s, else segments of 1 to 30 s.

    Args:
        go_on: called now and then; what it raises ends the work.
    """
    if len(waveform) <= LONGEST:
        return [(0, len(waveform))]
    cuts = cut(pause_cost(silero.speech(waveform, go_on), len(waveform)), len(waveform))
    return list(zip([0, *cuts], [*cuts, len(waveform)], strict=True))


def pause_cost(speech: NDArray[np.float32], samples: int) -> NDArray[np.float64]:
    """Probabilities of speech (silero.WINDOW samples each) → what a cut at each hop costs.

    Returns (samples // HOP + 1,): 0 in the middle of a pause, 1 amid speech.
    """
    hops = np.arange(-(PAUSE // 2), samples // HOP + 1 + PAUSE // 2)
    heard = np.arange(len(speech)) * silero.WINDOW + silero.WINDOW // 2 - LATENESS
    bell = np.hanning(PAUSE + 2)[1:-1]
    return np.convolve(np.interp(hops * HOP, heard, speech), bell / bell.sum(), "valid")


def cut(cost: NDArray[np.float64], samples: int) -> list[int]:
    """The cheapest cuts of a clip of more than 30 s, in samples, multiples of HOP.

    A dynamic programme over all hops: what it costs to cut here, and what the lengths between
    the cuts cost. Each segment is SHORTEST to LONGEST samples long, OVERLAP included.

    Args:
        cost: (samples // HOP + 1,) of a cut at each hop, not negative.
    """
    assert samples > LONGEST
    by_length = _length_cost(np.arange(_LONGEST_HOPS, _SHORTEST_HOPS - 1, -1) * HOP)
    best = np.full(len(cost), np.inf)  # of the hops before one, when it is cut there
    best[0] = 0.0
    earlier = np.zeros(len(cost), np.int64)  # the cut before
    for hop in range(_SHORTEST_HOPS, len(cost)):
        first = max(0, hop - _LONGEST_HOPS)
        through = best[first : hop - _SHORTEST_HOPS + 1]
        through = through + by_length[len(by_length) - len(through) :]
        chosen = int(through.argmin())
        best[hop], earlier[hop] = through[chosen] + cost[hop], first + chosen
    rest = samples - np.arange(len(cost)) * HOP
    whole = np.where((rest >= SHORTEST) & (rest <= LONGEST), best + _length_cost(rest), np.inf)
    hop = int(whole.argmin())
    cuts: list[int] = []
    while hop:
        cuts.append(hop * HOP)
        hop = int(earlier[hop])
    return cuts[::-1]


def _length_cost(samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Segments of 5 to 15 s are preferred, but not to a pause: a cut amid speech costs more."""
    return np.interp(samples / SAMPLE_RATE, [1.0, 5.0, 15.0, 30.0], [0.55, 0.05, 0.05, 0.55])
