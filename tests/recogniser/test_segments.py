"""Long clips are cut at pauses: the tiling, the pauses, and the voice detection beneath."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.audio import decode
from app.domain import HOP, SAMPLE_RATE, Waveform, frame_count
from app.recogniser import silero
from app.recogniser.segments import LONGEST, OVERLAP, SHORTEST, cut, pause_cost, segments
from tests.conftest import ROOT

VOICES = sorted((ROOT / "tests" / "data").glob("*_voice_*.flac"))


def voice(number: int) -> Waveform:
    with VOICES[number % len(VOICES)].open("rb") as file:
        return decode(file, max_seconds=30).waveforms[0]


def call(seconds: float, pause: float = 0.6, noise: float = 1e-3) -> tuple[Waveform, list[float]]:
    """Voices and pauses in turn, and the middles of the pauses (seconds)."""
    generator = np.random.default_rng(0)
    pieces, middles, length, number = [], [], 0, 0
    while length < seconds * SAMPLE_RATE:
        said = np.trim_zeros(np.where(abs(voice(number)) > 1e-3, voice(number), 0))
        pieces += [said, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
        length += len(pieces[-2]) + len(pieces[-1])
        middles.append((length - len(pieces[-1]) / 2) / SAMPLE_RATE)
        number += 1
    waveform = np.concatenate(pieces)[: int(seconds * SAMPLE_RATE)]
    return waveform + generator.normal(0, noise, len(waveform)).astype(np.float32), middles


def check(bounds: list[tuple[int, int]], samples: int) -> None:
    """They tile the clip as the API says, and their frames are those of the whole clip."""
    assert bounds[0][0] == 0
    assert bounds[-1][1] == samples
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    assert all(start % HOP == 0 for start, _ in bounds)
    heard = [min(end + OVERLAP, samples) - start for start, end in bounds]
    if samples > LONGEST:
        assert all(end - start >= SHORTEST for start, end in bounds)
        assert all(length <= LONGEST for length in heard)
    else:
        assert len(bounds) == 1
    assert sum(map(frame_count, heard)) == frame_count(samples)


def tile(cuts: list[int], samples: int) -> list[tuple[int, int]]:
    return list(zip([0, *cuts], [*cuts, samples], strict=True))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    samples=st.integers(LONGEST + 1, 150 * SAMPLE_RATE),
    seed=st.integers(0, 2**32),
    shape=st.sampled_from(["random", "silent", "speech", "rare pauses", "huge"]),
)
@example(samples=LONGEST + 1, seed=0, shape="silent")
@example(samples=LONGEST + 1, seed=0, shape="speech")
@example(samples=LONGEST + HOP, seed=0, shape="rare pauses")
@example(samples=2 * LONGEST, seed=0, shape="speech")
@example(samples=2 * LONGEST + 1, seed=0, shape="speech")
def test_any_costs_give_a_tiling(samples: int, seed: int, shape: str) -> None:
    generator = np.random.default_rng(seed)
    hops = samples // HOP + 1
    cost = {
        "random": generator.random(hops),
        "silent": np.zeros(hops),
        "speech": np.ones(hops),
        "rare pauses": (generator.random(hops) > 1e-3).astype(float),
        "huge": generator.random(hops) * 1e9,
    }[shape]
    cuts = cut(cost, samples)
    check(tile(cuts, samples), samples)
    assert cut(cost.copy(), samples) == cuts


@settings(deadline=None, derandomize=True, max_examples=30)
@given(samples=st.integers(1, 40 * SAMPLE_RATE), windows=st.integers(1, 1_300))
def test_costs_are_between_pause_and_speech(samples: int, windows: int) -> None:
    speech = np.random.default_rng(windows).random(windows).astype(np.float32)
    cost = pause_cost(speech, samples)
    assert cost.shape == (samples // HOP + 1,)
    assert speech.min() - 1e-6 <= cost.min()
    assert cost.max() <= speech.max() + 1e-6


def cheapest(cost: NDArray[np.float64], samples: int) -> float:
    """By trying every single cut, for clips that one cut is best for."""
    return min(
        float(cost[hop])
        for hop in range(len(cost))
        if SHORTEST <= hop * HOP <= LONGEST - OVERLAP and SHORTEST <= samples - hop * HOP <= LONGEST
    )


def test_the_one_pause_is_found() -> None:
    samples = 40 * SAMPLE_RATE
    for second in (10.5, 15.0, 20.02, 25.36, 29.9):
        cost = np.ones(samples // HOP + 1)
        cost[round(second * SAMPLE_RATE / HOP)] = 0.0
        cuts = cut(cost, samples)
        assert round(second * SAMPLE_RATE) in cuts
        assert min(cost[position // HOP] for position in cuts) == cheapest(cost, samples)


@pytest.mark.parametrize("samples", [400, SAMPLE_RATE, LONGEST - 1, LONGEST])
def test_up_to_30_s_is_one_segment(samples: int) -> None:
    assert segments(np.zeros(samples, np.float32)) == [(0, samples)]


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
@pytest.mark.parametrize("samples", [LONGEST + 1, LONGEST + 321, 61 * SAMPLE_RATE + 7])
def test_sounds_without_speech_are_tiled(kind: str, samples: int) -> None:
    waveform = {
        "silence": np.zeros(samples),
        "noise": np.random.default_rng(0).normal(0, 0.1, samples),
        "tone": np.sin(np.arange(samples) * 0.2),
    }[kind].astype(np.float32)
    bounds = segments(waveform)
    check(bounds, samples)
    assert segments(waveform) == bounds


@pytest.mark.parametrize("noise", [1e-4, 5e-3])
def test_cuts_are_in_pauses(noise: float) -> None:
    waveform, middles = call(150, noise=noise)
    bounds = segments(waveform)
    check(bounds, len(waveform))
    cuts = np.array([end for _, end in bounds[:-1]]) / SAMPLE_RATE
    away = np.abs(cuts[:, None] - np.array(middles)).min(axis=1)
    assert len(cuts) >= 5
    assert away.max() < 0.3


def test_a_pause_outweighs_a_comfortable_length() -> None:
    """Speech that pauses once, at 27 s of 40: it is cut there."""
    waveform, _ = call(40, pause=0.02)
    waveform[int(26.7 * SAMPLE_RATE) : int(27.3 * SAMPLE_RATE)] = 0
    cuts = [end / SAMPLE_RATE for _, end in segments(waveform)[:-1]]
    assert min(abs(np.array(cuts) - 27)) < 0.3


class TestSilero:
    def test_the_probabilities_are_its_own(self) -> None:
        """Its TorchScript model, one window at a time, as its package runs it."""
        waveform, _ = call(40)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = torch.jit.load(str(silero.path()))  # type: ignore[no-untyped-call]
        padded = np.pad(waveform, (0, -len(waveform) % 512)).reshape(-1, 512)
        with torch.inference_mode():
            expected = [own(torch.from_numpy(w[None]), 16_000).item() for w in padded]
        found = silero.speech(waveform)
        assert len(found) == len(expected) > silero.WINDOWS_AT_ONCE
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_voices_are_speech_and_pauses_are_none(self) -> None:
        waveform, middles = call(60)
        speech = silero.speech(waveform)
        at = [int(middle * SAMPLE_RATE / silero.WINDOW) for middle in middles if middle < 59]
        assert np.mean(speech) > 0.5
        assert np.mean(speech[at]) < 0.15

    def test_a_waveform_on_disk_is_heard_alike(self, tmp_path: Path) -> None:
        waveform, _ = call(70)
        waveform.tofile(tmp_path / "samples")
        mapped = np.memmap(tmp_path / "samples", np.float32, "r")
        assert np.array_equal(silero.speech(mapped), silero.speech(waveform))
        assert segments(mapped) == segments(waveform)
