"""What is written reads back, here and in other readers."""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import opened, shipped, written
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.audio import decode, samples_sha256, write_flac, write_npy, write_wav
from app.domain import Waveform

GRID = (np.arange(-(2**15), 2**15, dtype=np.int16) / np.float32(2**15)).astype(np.float32)
waveforms = hnp.arrays(np.float32, st.integers(400, 900), elements=st.floats(-3, 3, width=32))


def flac(waveform: Waveform) -> bytes:
    file = io.BytesIO()
    write_flac(waveform, file)
    return file.getvalue()


def wav_of(waveform: Waveform) -> bytes:
    file = io.BytesIO()
    write_wav(waveform, file)
    return file.getvalue()


def read_back(content: bytes) -> Waveform:
    return decode(opened(content), max_seconds=60).waveforms[0]


def test_16_bit_audio_comes_back_exactly() -> None:
    assert np.array_equal(read_back(flac(GRID)), GRID)
    assert np.array_equal(read_back(wav_of(GRID)), GRID)


@settings(deadline=None, derandomize=True)
@given(waveforms)
def test_anything_comes_back_clipped_and_rounded(waveform: Waveform) -> None:
    clipped = np.clip(waveform, -1, 1)
    assert np.abs(read_back(flac(waveform)) - clipped).max() <= 2**-23
    assert np.abs(read_back(wav_of(waveform)) - clipped).max() <= 2**-15


def test_beyond_full_scale_does_not_wrap() -> None:
    loud = np.array([1.0, 1.5, 1e30, -1.0, -1.5, -1e30] * 100, np.float32)
    for encode in (flac, wav_of):
        back = read_back(encode(loud))
        assert np.array_equal(np.sign(back), np.sign(loud))
        assert np.abs(back).min() > 0.99


def test_formats() -> None:
    for content, form, subtype in (
        (flac(GRID), "FLAC", "PCM_24"),
        (wav_of(GRID), "WAV", "PCM_16"),
    ):
        about = soundfile.info(io.BytesIO(content))
        assert (about.format, about.subtype) == (form, subtype)
        assert (about.samplerate, about.channels, about.frames) == (16_000, 1, len(GRID))


def test_the_standard_library_reads_the_wav() -> None:
    with wave.open(io.BytesIO(wav_of(GRID * np.float32(0.3)))) as reader:
        assert (reader.getnchannels(), reader.getsampwidth()) == (1, 2)
        assert (reader.getframerate(), reader.getnframes()) == (16_000, len(GRID))


def test_24_bits_cost_16_bit_audio_nothing() -> None:
    waveform = read_back(shipped("angry_voice_a.flac"))
    in_16_bits = written(waveform, 16_000, "FLAC", "PCM_16")
    assert len(flac(waveform)) < 1.02 * len(in_16_bits)


def test_the_hash_is_of_the_samples_alone() -> None:
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 8_000).astype(np.int16)
    hashes = {
        samples_sha256(read_back(written(samples, 16_000, form, subtype)))
        for form, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "PCM_24"))
    }
    expected = samples.astype("<f4") / np.float32(2**15)
    assert hashes == {hashlib.sha256(expected.tobytes()).hexdigest()}
    samples[4_000] += 1
    assert samples_sha256(read_back(written(samples, 16_000, "WAV", "PCM_16"))) not in hashes


@pytest.mark.parametrize("stride", [1, 2, -1])
def test_the_hash_knows_no_negative_zero_and_no_layout(stride: int) -> None:
    zeros = np.zeros(1_000, np.float32)
    assert samples_sha256(-zeros) == samples_sha256(zeros)
    view = np.repeat(GRID, 2)[::stride]
    assert samples_sha256(view) == samples_sha256(view.copy())


@pytest.mark.parametrize("shape", [(7,), (5, 3), (300_000,), (3_000, 256)])
def test_npy_is_as_numpy_writes_it(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    ours, numpys = io.BytesIO(), io.BytesIO()
    write_npy(array, ours)
    np.save(numpys, array)
    assert ours.getvalue() == numpys.getvalue()


class FullDisk(io.BytesIO):
    """Takes 1,000 bytes."""

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > 1_000:
            raise OSError(28, "No space left on device")
        return super().write(content)


@pytest.mark.parametrize("write", [write_flac, write_wav, write_npy])
def test_a_full_disk_is_told(write: Callable[..., None]) -> None:
    with pytest.raises(OSError, match="No space"):
        write(GRID, FullDisk())
