"""Long audio: the same samples, on disk without a name, in bounded memory."""

from __future__ import annotations

import gc
import io
import os
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from audio_files import encoded, opened, tone, written
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio import Spool, blocks, decode, samples_sha256, write_flac, write_wav
from app.audio.spool import IN_MEMORY
from app.errors import NoAudio, TooLarge, Unavailable

RATE = 16_000
NOISE = np.random.default_rng(0).integers(-9_000, 9_000, (90 * RATE, 2)).astype(np.int16)
STEREO = written(NOISE, RATE, "WAV", "PCM_16")


def unnamed_files() -> int:
    """Open or mapped files of this process that have no name any more."""
    gc.collect()
    mapped = Path("/proc/self/maps").read_text().count("(deleted)")
    opened_ones = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            opened_ones += "(deleted)" in os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue
    return mapped + opened_ones


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    before = unnamed_files()
    yield
    assert unnamed_files() == before
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    lengths=st.lists(st.integers(0, 3_000), max_size=12),
    width=st.integers(1, 3),
    many=st.booleans(),
)
def test_what_goes_in_comes_out(lengths: list[int], width: int, many: bool) -> None:
    spool = Spool(None, (width,))
    pieces = [
        np.arange(length * (200 if many else 1) * width, dtype=np.float32).reshape(-1, width)
        for length in lengths
    ]
    for piece in pieces:
        spool.add(piece[:, ::-1])
    found = spool.finish()
    expected = np.concatenate([np.empty((0, width), np.float32), *(p[:, ::-1] for p in pieces)])
    assert len(spool) == len(found)
    assert np.array_equal(found, expected)
    assert isinstance(found, np.memmap) <= (expected.nbytes > IN_MEMORY)
    again = [block.copy() for block in blocks(found, 1_000)]
    assert np.array_equal(np.concatenate([expected[:0], *again]), expected)


@pytest.mark.parametrize("channel", ["left", "right", "split"])
def test_long_audio_has_the_same_samples(tmp_path: Path, channel: str) -> None:
    audio = decode(opened(STEREO), channel=channel, max_seconds=99, scratch=tmp_path)  # type: ignore[arg-type]
    columns = {"left": [0], "right": [1], "split": [0, 1]}[channel]
    for waveform, column in zip(audio.waveforms, columns, strict=True):
        assert isinstance(waveform, np.memmap)
        expected = NOISE[:, column].astype(np.float32) / 2**15
        assert np.array_equal(waveform, expected)
        assert samples_sha256(waveform) == samples_sha256(expected)
        assert list(tmp_path.iterdir()) == []
        for write in (write_flac, write_wav):
            ours, whole = io.BytesIO(), io.BytesIO()
            write(waveform, ours)
            write(expected, whole)
            assert ours.getvalue() == whole.getvalue()


def test_a_minute_needs_no_file(tmp_path: Path) -> None:
    content = written(NOISE[: 60 * RATE, 0], RATE, "WAV", "PCM_16")
    [waveform] = decode(opened(content), max_seconds=60, scratch=tmp_path).waveforms
    assert not isinstance(waveform, np.memmap)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Ten minutes of 8 kHz: 38 MB of samples at 16 kHz."""
    content = written(np.tile(NOISE[: 60 * 8_000, 0], 10), 8_000, "WAV", "PCM_16")
    source = opened(content)
    tracemalloc.start()
    [waveform] = decode(source, max_seconds=600, scratch=tmp_path).waveforms
    samples_sha256(waveform)
    with (tmp_path / "a.flac").open("wb") as file:
        write_flac(waveform, file)
    with (tmp_path / "a.wav").open("wb") as file:
        write_wav(waveform, file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for path in tmp_path.iterdir():
        path.unlink()
    assert len(waveform) == 600 * RATE
    assert peak < 3 * IN_MEMORY


def test_pages_that_were_read_do_not_stay(tmp_path: Path) -> None:
    content = written(np.tile(NOISE[:, 0], 6), RATE, "WAV", "PCM_16")
    [waveform] = decode(opened(content), max_seconds=600, scratch=tmp_path).waveforms

    def mapped() -> int:
        """Bytes of the waveform's file that are in this process's memory."""
        smaps = Path("/proc/self/smaps").read_text().split("(deleted)")[1]
        return int(smaps.split("Rss:")[1].split()[0]) * 1024

    assert waveform.any()
    assert mapped() > 0
    samples_sha256(waveform)
    assert mapped() == 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (STEREO, TooLarge),
        (written(np.full(90 * RATE, np.inf), RATE, "WAV", "FLOAT"), NoAudio),
        (written(NOISE[:, 0], RATE, "WAV", "FLOAT")[:-8] + b"\0\0\x80\x7f" * 2, NoAudio),
    ],
)
def test_a_refusal_leaves_nothing(tmp_path: Path, content: bytes, error: type) -> None:
    with pytest.raises(error):
        decode(opened(content), max_seconds=89 if error is TooLarge else 99, scratch=tmp_path)


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="disk"):
        decode(opened(STEREO), max_seconds=99, scratch=tmp_path / "not there")


def hours_of_aac(form: str, minutes: int) -> bytes:
    """The packets of one minute at 48 kHz again and again."""
    minute = encoded(np.zeros(60 * 48_000), 48_000, "adts", "aac", bits=8_000)
    if form == "adts":
        return minute * minutes
    target = io.BytesIO()
    with av.open(opened(minute)) as source, av.open(target, "w", format=form) as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        packets = [bytes(packet) for packet in source.demux() if packet.size]
        for number, content in enumerate(packets * minutes):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 48_000)
            packet.pts = packet.dts = number * 1_024
            container.mux(packet)
    return target.getvalue()


@pytest.mark.parametrize(("form", "minutes"), [("adts", 40), ("ipod", 95)])
def test_hours_have_as_many_packets_as_they_need(form: str, minutes: int) -> None:
    """More looks, and more rows in a table, than a short file may have."""
    content = hours_of_aac(form, minutes)
    audio = decode(opened(content), max_seconds=7_200)
    assert audio.warnings == ()
    assert len(audio.waveforms[0]) == pytest.approx(minutes * 60 * RATE, abs=5 * RATE)
    with pytest.raises(TooLarge):
        decode(opened(content), max_seconds=600)


def test_a_long_resampled_file_is_as_it_would_be_in_memory(tmp_path: Path) -> None:
    samples = tone(90, 44_100)
    whole = decode(opened(written(samples, 44_100, "FLAC", "PCM_16")), max_seconds=99).waveforms[0]
    part = decode(
        opened(written(samples[: 44_100 * 20], 44_100, "FLAC", "PCM_16")), max_seconds=99
    ).waveforms[0]
    assert isinstance(whole, np.memmap)
    assert len(whole) == 90 * RATE
    assert np.array_equal(whole[: 19 * RATE], part[: 19 * RATE])


class GivenUp(Exception):
    """What a caller's go_on raises."""


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_long_audio_is_given_up_on_the_way(tmp_path: Path, kind: str) -> None:
    subtype = "VORBIS" if kind == "OGG" else "PCM_16"
    content = opened(written(NOISE, RATE, kind, subtype))
    asked = 0

    def go_on() -> None:
        nonlocal asked
        asked += 1
        if asked == 20:
            raise GivenUp

    with pytest.raises(GivenUp):
        decode(content, max_seconds=99, scratch=tmp_path, go_on=go_on)
    assert asked == 20
