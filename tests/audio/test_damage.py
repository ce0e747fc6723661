"""Damaged files give what can be decoded and say so, or a typed refusal, never anything else."""

from __future__ import annotations

import random

import numpy as np
import pytest
from audio_files import SHIPPED, encoded, opened, shipped, tone, wav, written
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.audio import decode
from app.domain import Audio
from app.errors import NoAudio, TooLarge, UnsupportedAudio

CONTENTS = {path.name: path.read_bytes() for path in SHIPPED}
LIMIT = 10.0  # seconds
MAGICS = (
    b"fLaC",
    b"OggS",
    b"RIFF\0\0\0\0WAVE",
    b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0",
    b"RF64\0\0\0\0WAVE",
    b"\0\0\0\x18ftypM4A ",
    b"\0\0\0\x08ftyp\0\0\1\0moov",
    b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\0",
    b"\xff\xf1\x50\x80",
    CONTENTS["calm_voice_a.flac"][:86],
    CONTENTS["calm_voice_a.opus.ogg"][:300],
    CONTENTS["calm_voice_a.vorbis.ogg"][:4_000],
    CONTENTS["calm_voice_a.mp3"][:700],
    CONTENTS["calm_voice_a.m4a"][:1_000],
)
PATIENT = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def survives(content: bytes) -> Audio | None:
    try:
        audio = decode(opened(content), max_seconds=LIMIT)
    except (NoAudio, UnsupportedAudio, TooLarge):
        return None
    (waveform,) = audio.waveforms
    assert waveform.dtype == np.float32
    assert 400 <= len(waveform) <= LIMIT * 16_000 + 1
    assert np.isfinite(waveform).all()
    return audio


@settings(PATIENT, max_examples=450)
@given(name=st.sampled_from(sorted(CONTENTS)), kept=st.floats(0, 1))
def test_any_truncation(name: str, kept: float) -> None:
    content = CONTENTS[name]
    survives(content[: int(kept * len(content))])


@settings(PATIENT, max_examples=250)
@given(
    name=st.sampled_from(sorted(CONTENTS)),
    seed=st.integers(0, 2**32),
    flips=st.integers(1, 200),
    early=st.booleans(),
)
def test_any_flipped_bytes(name: str, seed: int, flips: int, early: bool) -> None:
    content = bytearray(CONTENTS[name])
    choose = random.Random(seed)
    for _ in range(flips):
        reach = min(len(content), 600) if early else len(content)
        content[choose.randrange(reach)] = choose.randrange(256)
    survives(bytes(content))


@settings(PATIENT, max_examples=250)
@given(
    name=st.sampled_from(sorted(CONTENTS)),
    start=st.floats(0, 1),
    length=st.integers(1, 5_000),
    insert=st.binary(max_size=64),
)
def test_any_stretch_that_is_lost_or_replaced(
    name: str, start: float, length: int, insert: bytes
) -> None:
    content = CONTENTS[name]
    first = int(start * len(content))
    survives(content[:first] + insert + content[first + length :])


@settings(PATIENT, max_examples=250)
@given(magic=st.sampled_from(MAGICS), seed=st.integers(0, 2**32), size=st.integers(0, 20_000))
@example(magic=b"RIFF\0\0\0\0WAVE", seed=0, size=0)
def test_random_bytes_behind_a_magic(magic: bytes, seed: int, size: int) -> None:
    survives(magic + random.Random(seed).randbytes(size))


@settings(PATIENT, max_examples=250)
@given(fields=st.binary(min_size=16, max_size=40), samples=st.binary(max_size=4_000))
def test_any_wav_header(fields: bytes, samples: bytes) -> None:
    content = wav(samples)
    head = b"RIFF\0\0\0\0WAVEfmt " + len(fields).to_bytes(4, "little") + fields
    survives(head + content[36:])


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (written(tone(3, 16_000), 16_000, "WAV", "PCM_16"), 3.0),
        (written(tone(3, 8_000), 8_000, "WAV", "ALAW"), 3.0),
        (written(tone(3, 8_000, 300), 8_000, "WAV", "IMA_ADPCM"), 3.0),
        (written(np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000, "FLAC", "PCM_16"), 3.0),
        (encoded(tone(3, 44_100), 44_100, "mp3", "libmp3lame"), 3.0),
        (shipped("calm_voice_a.m4a"), 1.9),
    ],
    ids=["wav", "alaw", "adpcm", "flac", "mp3", "m4a"],
)
def test_a_file_that_ends_early_says_by_how_much(content: bytes, whole: float) -> None:
    assert survives(content).warnings == ()  # type: ignore[union-attr]
    audio = survives(content[: len(content) // 2])
    assert audio is not None
    seconds = len(audio.waveforms[0]) / 16_000
    assert 0.3 * whole < seconds < 0.7 * whole
    (warning,) = audio.warnings
    assert warning == f"The file ends early: {seconds:.1f} s of {whole:.1f} s could be decoded."


@pytest.mark.parametrize(
    "content",
    [
        encoded(tone(5, 48_000), 48_000, "ogg", "libopus"),
        written(np.random.default_rng(0).normal(0, 0.1, 80_000), 16_000, "OGG", "VORBIS"),
        encoded(tone(5, 16_000), 16_000, "mp4", "aac", movflags="frag_every_frame+empty_moov"),
    ],
    ids=["opus", "vorbis", "fragments"],
)
def test_a_stream_that_ends_early_says_so(content: bytes) -> None:
    assert survives(content).warnings == ()  # type: ignore[union-attr]
    audio = survives(content[: len(content) // 2])
    assert audio is not None
    seconds = len(audio.waveforms[0]) / 16_000
    assert 0.9 < seconds < 3.5
    assert audio.warnings == (f"The file ends early: {seconds:.1f} s could be decoded.",)


def test_the_first_half_of_a_cut_file_is_the_first_half_of_the_whole() -> None:
    for name in ("calm_voice_a.flac", "calm_voice_a.m4a", "calm_voice_a.mp3"):
        content = shipped(name)
        whole = decode(opened(content), max_seconds=9).waveforms[0]
        half = decode(opened(content[: len(content) // 2]), max_seconds=9).waveforms[0]
        sure = len(half) - 1_500  # the last frames overlap with what is lost
        assert sure > 5_000
        assert np.abs(half[:sure] - whole[:sure]).max() < 1e-4


def test_an_m4a_whose_header_was_to_come_last_is_refused() -> None:
    content = encoded(tone(2, 44_100), 44_100, "ipod", "aac")
    assert content.index(b"moov") > content.index(b"mdat")
    with pytest.raises(UnsupportedAudio, match="moov"):
        decode(opened(content[: len(content) // 2]), max_seconds=9)


@pytest.mark.parametrize("name", ["calm_voice_a.mp3", "calm_voice_a.m4a", "calm_voice_a.flac"])
def test_damage_in_the_middle_is_said(name: str) -> None:
    content = bytearray(shipped(name))
    middle = len(content) // 2
    content[middle : middle + 1_500] = bytes(1_500)
    audio = survives(bytes(content))
    assert audio is not None
    (warning,) = audio.warnings
    assert warning.startswith("Parts of the file are damaged: 1.")


def test_damaged_flac_is_left_out_rather_than_heard_as_noise() -> None:
    samples = tone(3, 16_000, level=0.1)
    content = bytearray(written(samples, 16_000, "FLAC", "PCM_16"))
    content[len(content) // 2] ^= 0x10
    audio = survives(bytes(content))
    assert audio is not None
    assert audio.warnings
    assert np.abs(audio.waveforms[0]).max() < 0.11


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for name, content in CONTENTS.items():
        broken = bytearray(content[: len(content) * 3 // 4])
        choose = random.Random(name)
        for _ in range(30):
            broken[choose.randrange(100, len(broken))] = choose.randrange(256)
        survives(bytes(broken))
    assert capfd.readouterr() == ("", "")
