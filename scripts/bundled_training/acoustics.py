"""What the network learns to hear before it learns emotion: spectrum, pitch, voicing, prosody.

These measurements serve as regression targets in training, and a part of them as the baseline that
the network has to beat. The service itself never computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import HOP, SAMPLE_RATE, WINDOW, frame_count
from scripts.bundled_training.network import hertz_to_mel, mel_to_hertz

Array = NDArray[np.float32]

BANDS = 40
SHIFT = 160  # samples between the frames of a clip's analysis, 10 ms
FFT = 1024
FLOOR = 1e-5  # of the mean power of the clip: -50 dB
PITCH_WINDOW = 640  # samples, 40 ms: two periods of 50 Hz
SHORTEST_PERIOD, LONGEST_PERIOD = 32, 267  # samples: 500 Hz and 60 Hz
VOICED = 0.6  # of the normalised autocorrelation


@dataclass(frozen=True)
class Analysis:
    """One clip at 100 frames a second, loudness relative to the clip's own."""

    log_mel: Array  # (T, BANDS), natural logarithm of power
    power: Array  # (T, FFT // 2 + 1)
    pitch: Array  # (T,), Hz, meaningless where periodicity is low
    periodicity: Array  # (T,), normalised autocorrelation at the period, up to 1


def mel_filters(bands: int) -> Array:
    """Triangles on the mel scale from 50 Hz to 8 kHz, each of sum one: (bands, FFT // 2 + 1)."""
    edges = mel_to_hertz(np.linspace(hertz_to_mel(50.0), hertz_to_mel(8000.0), bands + 2))
    hertz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rise = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    return np.asarray(triangles / (triangles.sum(axis=1, keepdims=True) + 1e-9), dtype=np.float32)


MEL = mel_filters(BANDS)


def standardise(waveform: Array) -> Array:
    """Mean 0 and power 1, as the network normalises a clip."""
    centred = waveform - waveform.mean()
    return np.asarray(centred / np.sqrt(centred.var() + 1e-5), dtype=np.float32)


def _cut(waveform: Array, window: int, shift: int, count: int) -> Array:
    view = np.lib.stride_tricks.sliding_window_view(waveform, window)
    return np.asarray(view[::shift][:count])


def analyse(waveform: Array) -> Analysis:
    """Spectrum and pitch of a clip of at least WINDOW samples."""
    normal = standardise(waveform)
    count = 1 + (len(normal) - WINDOW) // SHIFT
    spectrum = np.fft.rfft(_cut(normal, WINDOW, SHIFT, count) * np.hanning(WINDOW), FFT)
    power = (np.abs(spectrum) ** 2 / WINDOW).astype(np.float32)
    log_mel = np.log(power @ MEL.T + FLOOR)
    pitch, periodicity = _pitch(normal, count)
    return Analysis(log_mel, power, pitch, periodicity)


def _pitch(normal: Array, count: int) -> tuple[Array, Array]:
    """The highest peak of the autocorrelation, divided by the window's own (Boersma, 1993)."""
    margin = (PITCH_WINDOW - WINDOW) // 2
    cut = _cut(np.pad(normal, (margin, margin)), PITCH_WINDOW, SHIFT, count)
    window = np.hanning(PITCH_WINDOW)
    cut = (cut - cut.mean(axis=1, keepdims=True)) * window
    correlation = np.fft.irfft(np.abs(np.fft.rfft(cut, 2048)) ** 2)[:, :LONGEST_PERIOD]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)[:LONGEST_PERIOD]
    correlation = correlation / (correlation[:, :1] + 1e-3) / (of_window / of_window[0])
    periods = np.arange(SHORTEST_PERIOD, LONGEST_PERIOD)
    heights = correlation[:, SHORTEST_PERIOD:]
    # A small price on long periods keeps the fundamental where two periods fit as well as one.
    best = np.argmax(heights - 0.02 * np.log2(periods / SHORTEST_PERIOD), axis=1)
    pitch = SAMPLE_RATE / periods[best]
    periodicity = heights[np.arange(count), best]
    return pitch.astype(np.float32), periodicity.astype(np.float32)


def baseline_features(analysis: Analysis) -> Array:
    """Mean and standard deviation of each band over the clip: what the network must beat."""
    return np.concatenate([analysis.log_mel.mean(axis=0), analysis.log_mel.std(axis=0)])


def clip_targets(analysis: Analysis) -> Array:
    """Statistics of spectrum, pitch, rhythm and loudness over a clip: (CLIP_TARGETS,)."""
    log_mel, power = analysis.log_mel, analysis.power
    loudness = np.log(power.sum(axis=1) + 1e-5)
    active = loudness > np.percentile(loudness, 95) - 5.0
    voiced = active & (analysis.periodicity > VOICED)
    if voiced.sum() < 5:
        voiced = active
    balance = _balance(power)
    return np.concatenate(
        [
            _prosody(analysis, loudness, active, voiced),
            _five_numbers(balance[active]),
            _five_numbers(balance[voiced]),
            log_mel.mean(axis=0),
            log_mel.std(axis=0),
            log_mel[voiced].mean(axis=0),
            log_mel[voiced].std(axis=0),
            np.abs(np.diff(log_mel, axis=0)).mean(axis=0),
        ]
    ).astype(np.float32)


PROSODY = 27
CLIP_TARGETS = PROSODY + 2 * 25 + 5 * BANDS


def _five_numbers(track: Array) -> Array:
    percentiles = np.percentile(track, [10, 50, 90], axis=0)
    return np.concatenate([track.mean(axis=0), track.std(axis=0), *percentiles])


def _balance(power: Array) -> Array:
    """(T, 5): four ratios of neighbouring bands and the logarithm of the spectral centroid."""
    hertz = np.arange(power.shape[1]) * SAMPLE_RATE / FFT

    def level(low: float, high: float) -> Array:
        return np.asarray(np.log(power[:, (hertz >= low) & (hertz < high)].sum(axis=1) + 1e-5))

    centroid = np.log(power @ hertz / (power.sum(axis=1) + 1e-9) + 1.0)
    ratios = [
        level(0, 500) - level(500, 1000),
        level(0, 1000) - level(1000, 8000),
        level(1000, 2000) - level(2000, 4000),
        level(2000, 4000) - level(4000, 8000),
    ]
    return np.stack([*ratios, centroid], axis=1)


def _prosody(analysis: Analysis, loudness: Array, active: Array, voiced: Array) -> Array:
    octaves = np.log2(analysis.pitch[voiced] / 100.0)
    steps = np.abs(np.diff(octaves))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    runs = edges[1::2] - edges[::2]
    seconds = len(loudness) * SHIFT / SAMPLE_RATE
    return np.concatenate(
        [
            np.percentile(octaves, [5, 20, 50, 80, 95]),
            [octaves.std(), octaves.mean(), steps.mean(), np.median(steps)],
            [voiced.mean(), active.mean(), analysis.periodicity[active].mean()],
            [runs.mean() / 10.0, runs.std() / 10.0, len(runs) / seconds],
            [loudness[active].std()],
            np.percentile(loudness, [5, 25, 50, 75, 95]) - loudness.max(),
            [np.abs(np.diff(loudness)).mean()],
            np.polyfit(np.linspace(-1.0, 1.0, len(octaves)), octaves, 2),
            np.polyfit(np.linspace(-1.0, 1.0, len(loudness)), loudness, 2)[:2],
        ]
    )


def frame_targets(analysis: Analysis, samples: int) -> Array:
    """(T, BANDS + 2) at the network's frames: log-mel, octaves above 100 Hz, and 1 where voiced."""
    chosen = np.arange(frame_count(samples)) * (HOP // SHIFT)
    loud = analysis.log_mel[chosen].max(axis=1) > np.log(FLOOR) + 4.0
    voiced = (analysis.periodicity[chosen] > VOICED) & loud
    octaves = np.log2(analysis.pitch[chosen] / 100.0)
    return np.column_stack([analysis.log_mel[chosen], octaves, voiced]).astype(np.float32)
