"""Fingerprints of real recordings and of what happens to them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.fingerprint import (
    FEWEST,
    LAGS,
    OVERLAP,
    PART,
    WORST,
    Fingerprint,
    agreement,
)
from app.analysis.fingerprint import fingerprint as fingerprint_of
from app.audio import decode
from app.domain import Waveform
from scripts.analysis_benchmark.distortions import DISTORTIONS

SECOND = 16_000


def loaded(path: Path) -> Waveform:
    with path.open("rb") as file:
        [waveform] = decode(file, max_seconds=60).waveforms
        return np.array(waveform)


@pytest.fixture(scope="module")
def takes(emodb: Path) -> list[Waveform]:
    """One speaker's recordings of one sentence, and another's."""
    return [loaded(path) for path in sorted(emodb.glob("0[38]a05*.flac"))]


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distorted_copy_agrees(takes: list[Waveform], name: str) -> None:
    for waveform in takes:
        copy = fingerprint_of(DISTORTIONS[name](waveform))
        assert agreement(fingerprint_of(waveform), copy) > 0.5


def test_a_distorted_copy_has_the_nearest_descriptor(takes: list[Waveform]) -> None:
    originals = np.array([fingerprint_of(waveform).descriptor() for waveform in takes])
    mean = originals.mean(axis=0)
    for place, waveform in enumerate(takes):
        for distort in DISTORTIONS.values():
            copy = fingerprint_of(distort(waveform)).descriptor() - mean
            lengths = np.linalg.norm(originals - mean, axis=1) * np.linalg.norm(copy)
            assert np.argmax((originals - mean) @ copy / lengths) == place


@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_a_descriptor_is_how_often_bits_are_the_same_later(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    one = Fingerprint(rng.integers(0, 2**32, count, np.uint32), rng.random(count) < 0.7)
    found = one.descriptor().reshape(len(LAGS), 32)
    for row, lag in zip(found, LAGS, strict=True):
        frames = [t for t in range(count - lag) if one.heard[t] and one.heard[t + lag]]
        for bit in range(32):
            same = [int(one.bits[t] ^ one.bits[t + lag]) >> bit & 1 == 0 for t in frames]
            assert row[bit] == pytest.approx(2 * np.mean(same) - 1 if same else 0, abs=1e-6)


def test_others_of_the_same_words_do_not(takes: list[Waveform]) -> None:
    fingerprints = [fingerprint_of(waveform) for waveform in takes]
    assert len(fingerprints) > 8
    for one, other in itertools.combinations(fingerprints, 2):
        assert agreement(one, other) < 0.3


def test_two_calls_that_begin_with_one_announcement_do_not(takes: list[Waveform]) -> None:
    announcement = np.concatenate(takes[:4])
    one, other = (np.concatenate([announcement, *its]) for its in (takes[4:6], takes[7:9]))
    assert len(announcement) > 0.5 * max(len(one), len(other))
    assert agreement(fingerprint_of(one), fingerprint_of(other)) < 0.4


def test_an_excerpt_does_not(takes: list[Waveform]) -> None:
    call = fingerprint_of(np.concatenate(takes[:6]))
    assert agreement(call, fingerprint_of(takes[2])) == 0.0


def test_one_click_silences_nothing(takes: list[Waveform]) -> None:
    clicked = takes[0].copy() * 0.01
    clicked[5000] = 1.0
    assert agreement(fingerprint_of(takes[0]), fingerprint_of(clicked)) > 0.5


@pytest.mark.parametrize("samples", [0, 1, 2048, 3071])
def test_too_short_for_one_frame(samples: int) -> None:
    none = fingerprint_of(np.ones(samples, np.float32))
    assert len(none.bits) == 0
    assert agreement(none, none) == 0.0
    assert len(Fingerprint.unpacked(none.packed()).bits) == 0


def test_silence_is_like_nothing() -> None:
    silence = fingerprint_of(np.zeros(SECOND, np.float32))
    assert not silence.heard.any()
    assert agreement(silence, silence) == 0.0


def test_frames_do_not_depend_on_how_many_are_worked_out_at_once(
    takes: list[Waveform], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint_of(takes[0]).packed()
    for frames in (1, 7, 64):
        monkeypatch.setattr("app.analysis.fingerprint.FRAMES", frames)
        assert fingerprint_of(takes[0]).packed() == expected


@given(st.integers(0, 100))
def test_what_is_stored_is_read_again(count: int) -> None:
    rng = np.random.default_rng(count)
    one = Fingerprint(rng.integers(0, 2**32, count, np.uint32), rng.random(count) < 0.5)
    again = Fingerprint.unpacked(one.packed())
    np.testing.assert_array_equal(again.bits, one.bits)
    np.testing.assert_array_equal(again.heard, one.heard)
    for damaged in (b"", b"\x02" + one.packed()[1:], one.packed() + b"0"):
        with pytest.raises(ValueError, match="no fingerprint"):
            Fingerprint.unpacked(damaged)


@given(st.integers(0, 2**32 - 1), st.integers(12, 90), st.integers(-60, 60))
def test_agreement_is_that_of_the_best_shift(seed: int, count: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    one = Fingerprint(rng.integers(0, 2**32, count, np.uint32), rng.random(count) < 0.9)
    noise = rng.integers(0, 2**32, count, np.uint32) & rng.integers(0, 2**32, count, np.uint32)
    moved = np.roll(one.bits ^ noise, shift)
    other = Fingerprint(moved, rng.random(count) < 0.9)
    expected = slow_agreement(one, other)
    assert agreement(one, other) == pytest.approx(expected)
    assert agreement(other, one) == pytest.approx(expected)


def slow_agreement(one: Fingerprint, other: Fingerprint) -> float:
    """By every shift, bit by bit."""
    needed = max(FEWEST, OVERLAP * max(one.heard.sum(), other.heard.sum()))
    best, found = -np.inf, 0.0
    for shift in range(-len(one.bits) + 1, len(other.bits)):
        rows = [
            1 - 2 * (int(one.bits[t]) ^ int(other.bits[t + shift])).bit_count() / 32
            for t in range(max(0, -shift), min(len(one.bits), len(other.bits) - shift))
            if one.heard[t] and other.heard[t + shift]
        ]
        if len(rows) >= needed and np.mean(rows) > best:
            best = float(np.mean(rows))
            parts = np.array_split(rows, max(1, len(rows) // PART))
            found = float(np.quantile([part.mean() for part in parts], WORST))
    return found
