"""Speech-like signals with known pitch, made by rule: pulses and noise through moving resonances.

A source-filter model (Fant, 1960). No recording goes in, so every fold may hear it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain import HOP, SAMPLE_RATE, WINDOW, frame_count

Array = NDArray[np.float32]
Curve = NDArray[np.float64]

STEP = 80  # samples between points of a control curve, 5 ms
SPAN = 320  # samples of a filtered block
SIZE = 512  # points of its transform

# First three formants in hertz of an adult man's vowels, after Peterson and Barney (1952).
VOWELS = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype=np.float64,
)


@dataclass(frozen=True)
class Utterance:
    """A synthesised clip and the pitch it was made with, at the network's frames."""

    waveform: Array  # (N,)
    octaves: Array  # (T,), log2 of pitch over 100 Hz
    voiced: Array  # (T,), 1 where the voice sounds


def utterance(rng: np.random.Generator, samples: int) -> Utterance:
    """One clip of a voice drawn at random: its pitch, tract length, breath, effort and tempo."""
    points = samples // STEP + 2
    time = np.arange(points) * STEP / SAMPLE_RATE
    kind, begin, end = _segments(rng, time[-1])
    index = np.searchsorted(begin, time, side="right") - 1
    here = kind[index]
    voiced = _smooth((here <= 1).astype(np.float64), 2)

    octaves = _pitch_curve(rng, time, begin, end)
    formants = _formant_curves(rng, time, begin)
    effort = _smooth(rng.normal(0.0, rng.uniform(0.0, 0.6), len(begin))[index], 8)
    level = _smooth(rng.normal(0.0, rng.uniform(0.5, 4.0), len(begin))[index], 4)  # dB
    level = level + rng.uniform(2, 12) * effort + rng.uniform(-6, 6) * (time / time[-1] - 0.5)
    level = level - rng.uniform(0, 15) * np.clip(1.0 - (time[-1] - time) / 0.4, 0.0, 1.0)
    loudness = 10 ** (level / 20)

    sounding = voiced > 0.5
    if rng.random() < 0.03:  # a whisper
        sounding = np.zeros_like(sounding)
    pulses = _pulses(rng, octaves, sounding, samples)
    noise = rng.standard_normal(samples)

    hertz = np.arange(SIZE // 2 + 1) * SAMPLE_RATE / SIZE
    tract = _tract(formants, rng.uniform(50, 120), hertz)
    slope = rng.uniform(-1.0, 1.6) + rng.uniform(0.0, 0.9) * effort  # of the voice, in powers of f
    corner = 500.0
    tilt = (1.0 + hertz / corner) ** (slope[:, None] - 1.8)
    vowel_gain = np.where(here == 1, 0.35, 1.0) * (here <= 1)
    voice = tract * tilt * (_smooth(vowel_gain, 3) * loudness)[:, None]

    breath = 10 ** (rng.uniform(-55, -22) / 20) * (1.0 + hertz / 1000.0) ** 0.3
    hiss = _friction(rng, kind, hertz)[index]
    breathing = tract * breath * (_smooth((here <= 1).astype(np.float64), 3) * loudness)[:, None]
    friction = hiss * (_smooth((here >= 2).astype(np.float64), 1) * loudness)[:, None]

    clean = _filter(pulses, voice, samples) + _filter(noise, breathing + friction, samples)
    clean /= np.sqrt(np.mean(clean**2)) + 1e-9
    floor = 10 ** (rng.uniform(-75, -35) / 20)
    waveform = (clean + floor * rng.standard_normal(samples)).astype(np.float32)

    centres = (np.arange(frame_count(samples)) * HOP + WINDOW // 2) // STEP
    return Utterance(
        waveform, octaves[centres].astype(np.float32), sounding[centres].astype(np.float32)
    )


def _segments(rng: np.random.Generator, seconds: float) -> tuple[NDArray[np.int64], Curve, Curve]:
    """Kinds (0 vowel, 1 nasal or liquid, 2 fricative, 3 burst, 4 silence), begins and ends in s."""
    rate = rng.uniform(2.5, 8.0)  # syllables a second
    pausing = rng.uniform(0.0, 0.12)
    kinds: list[int] = []
    begins: list[float] = []
    now = 0.0

    def append(kind: int, length: float) -> None:
        nonlocal now
        kinds.append(kind)
        begins.append(now)
        now += length

    append(4, rng.uniform(0.01, 0.25))
    while now < seconds:
        syllable = rng.lognormal(np.log(1.0 / rate), 0.25)
        consonant = rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2])
        part = syllable * rng.uniform(0.2, 0.5)
        if consonant == 3:
            append(4, 0.6 * part)
            append(3, min(0.4 * part, 0.03))
        elif consonant:
            append(int(consonant), part)
        append(0, syllable - part)
        if rng.random() < pausing:
            append(4, rng.uniform(0.1, 0.5))
    begin = np.array(begins)
    return np.array(kinds), begin, np.append(begin[1:], now)


def _smooth(curve: Curve, reach: int) -> Curve:
    window = np.hanning(2 * reach + 1)
    padded = np.pad(curve, (reach, reach), mode="edge")
    return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"))


def _pitch_curve(rng: np.random.Generator, time: Curve, begin: Curve, end: Curve) -> Curve:
    """Octaves above 100 Hz: a base, a fall over the phrase, an accent on some segments, tremor."""
    base = rng.uniform(np.log2(0.75), np.log2(3.6))
    spread = rng.uniform(0.02, 0.4)
    curve = base + rng.normal(0.0, 0.25) * (time / time[-1] - 0.5)
    for start, stop in zip(begin, end, strict=True):
        if rng.random() < 0.6:
            middle, width = 0.5 * (start + stop), rng.uniform(0.06, 0.25)
            curve = curve + rng.normal(0.0, spread) * np.exp(-0.5 * ((time - middle) / width) ** 2)
    tremor = rng.uniform(0.0, 0.02) * np.sin(2 * np.pi * (rng.uniform(4, 8) * time + rng.random()))
    return np.asarray(np.clip(curve + tremor, np.log2(0.62), np.log2(5.0)))


def _formant_curves(rng: np.random.Generator, time: Curve, begin: Curve) -> Curve:
    """(points, 5) hertz, gliding between vowels; a shorter tract raises them all."""
    scale = rng.uniform(0.9, 1.35)
    targets = np.empty((len(begin), 5))
    targets[:, :3] = VOWELS[rng.integers(len(VOWELS), size=len(begin))]
    reduction = rng.uniform(0.0, 0.4)
    targets[:, :3] += reduction * (VOWELS.mean(axis=0) - targets[:, :3])
    targets[:, 3:] = [3500.0, 4500.0]
    targets *= scale * rng.normal(1.0, 0.03, targets.shape)
    curves = [_smooth(np.interp(time, begin, targets[:, k]), 5) for k in range(5)]
    return np.stack(curves, axis=1)


def _tract(formants: Curve, bandwidth: float, hertz: Curve) -> Curve:
    """Magnitude of five resonances in cascade (Klatt, 1980), (points, bins), 1 at 0 Hz."""
    gain = np.ones((len(formants), len(hertz)))
    for k in range(formants.shape[1]):
        centre = formants[:, k : k + 1]
        width = bandwidth * (1.0 + 0.4 * k)
        real = centre**2 - hertz**2
        gain *= centre**2 / np.sqrt(real**2 + (width * hertz) ** 2)
    return gain


def _friction(rng: np.random.Generator, kind: NDArray[np.int64], hertz: Curve) -> Curve:
    """(segments, bins): a band of noise for fricatives and bursts, nothing elsewhere."""
    centre = rng.uniform(1500, 7000, (len(kind), 1))
    width = rng.uniform(600, 2500, (len(kind), 1))
    level = 10 ** (rng.uniform(-40, -5, (len(kind), 1)) / 20)
    shape = level / np.sqrt(1.0 + ((hertz - centre) / width) ** 4)
    return np.where(np.isin(kind, (2, 3))[:, None], shape, 0.0)


def _pulses(
    rng: np.random.Generator, octaves: Curve, sounding: NDArray[np.bool_], samples: int
) -> Curve:
    """One pulse a period where the voice sounds, with jitter and shimmer; power near 1."""
    at = np.arange(samples) / STEP
    pitch = 100.0 * 2.0 ** np.interp(at, np.arange(len(octaves)), octaves)
    cycles = np.cumsum(pitch / SAMPLE_RATE)
    onsets = np.arange(1.0, int(cycles[-1]))
    onsets = onsets + rng.uniform(0.0, 0.012) * rng.standard_normal(len(onsets))
    place = np.interp(onsets, cycles, np.arange(samples))
    whole = np.clip(place.astype(np.int64), 0, samples - 2)
    part = place - whole
    strength = np.sqrt(SAMPLE_RATE / pitch[whole]) * (
        1 + rng.uniform(0, 0.1) * rng.standard_normal(len(whole))
    )
    strength *= sounding[np.minimum(whole // STEP, len(sounding) - 1)]
    train = np.zeros(samples)
    np.add.at(train, whole, strength * (1.0 - part))
    np.add.at(train, whole + 1, strength * part)
    return train


def _filter(source: Curve, gains: Curve, samples: int) -> Curve:
    """Overlap-add of Hann blocks, each multiplied by the gain of its moment."""
    padded = np.pad(source, (SPAN // 2, SPAN))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, SPAN)[::STEP][: len(gains)]
    window = np.hanning(SPAN + 1)[:SPAN] * (2.0 * STEP / SPAN)
    shaped = np.fft.irfft(np.fft.rfft(blocks * window, SIZE) * gains[: len(blocks)], SIZE)
    out = np.zeros(len(blocks) * STEP + SIZE)
    for offset in range(0, SIZE, STEP):
        piece = shaped[:, offset : offset + STEP]
        flat = np.zeros((len(blocks), STEP))
        flat[:, : piece.shape[1]] = piece
        out[offset : offset + len(blocks) * STEP] += flat.ravel()
    return out[SPAN // 2 : SPAN // 2 + samples]
