"""What is refused, with which error, and that it costs little to refuse it."""

from __future__ import annotations

import contextlib
import io
import pathlib
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from audio_files import SHIPPED, encoded, opened, patched, shipped, tone, wav, written

from app.audio import decode, ffmpeg
from app.audio.collect import Collector
from app.audio.sniff import adts_frame_bytes
from app.audio.span import Span
from app.errors import EmoseekError, NoAudio, TooLarge, UnsupportedAudio

LOCAL = pathlib.Path(__file__).parent.parent / "data" / "calm_voice_a.flac"


def refused(content: bytes, error: type[EmoseekError], max_seconds: float = 60.0) -> str:
    with pytest.raises(error) as caught:
        decode(opened(content), max_seconds=max_seconds)
    detail = caught.value.detail
    assert type(caught.value) is error
    assert detail.endswith(".")
    assert "/" not in detail  # no path
    assert "<" not in detail  # no object of ours or a library's
    return detail


def zipped(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("clip.wav", content)
    return target.getvalue()


HLS = f"#EXTM3U\n#EXTINF:1.0,\nfile://{LOCAL}\n".encode()
DASH = b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>"
NOT_AUDIO = {
    "text": b"The customer was angry.\n" * 100,
    "utf16": "The customer was angry.\n".encode("utf-16") * 100,
    "html": b"<!doctype html><audio src='file:///etc/passwd'></audio>" + bytes(2_000),
    "zip": zipped(wav(bytes(8_000))),
    "m3u8": HLS,
    "m3u8 with bom": b"\xef\xbb\xbf" + HLS,
    "ffconcat": f"ffconcat version 1.0\nfile '{LOCAL}'\n".encode(),
    "concat": f"file '{LOCAL}'\n".encode(),
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    "dash": DASH,
    "pls": f"[playlist]\nFile1={LOCAL}\n".encode(),
    "url": b"http://127.0.0.1:1/calm.wav",
    "webm": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01webm" + bytes(4_000),
    "avi": b"RIFF\0\x10\0\0AVI LIST" + bytes(4_000),
    "aiff": b"FORM\0\0\x10\0AIFFCOMM" + bytes(4_000),
    "au": written(tone(0.5, 16_000), 16_000, "AU", "PCM_16"),
    "caf": written(tone(0.5, 16_000), 16_000, "CAF", "PCM_16"),
    "id3 in front of text": b"ID3\4\0\0\0\0\0\x10" + bytes(16) + HLS,
    "id3 in front of another format": b"ID3\4\0\0\0\0\0\x10"
    + bytes(16)
    + written(tone(0.5, 16_000), 16_000, "AU", "PCM_16"),
    "zeros": bytes(8_000),
    "one byte": b"R",
    "mp3 sync and no more": b"\xff\xfb\x90\x00" + b"\x55" * 4_000,
    "pdf": b"%PDF-1.7\n" + bytes(4_000),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(4_000),
}


@pytest.mark.parametrize("content", NOT_AUDIO.values(), ids=NOT_AUDIO.keys())
def test_not_audio(content: bytes) -> None:
    assert "WAV, FLAC, OGG, MP3, M4A or AAC" in refused(content, UnsupportedAudio)


@pytest.mark.parametrize("magic", [b"fLaC", b"OggS", b"\0\0\0\x18ftypM4A "])
@pytest.mark.parametrize("text", [HLS, NOT_AUDIO["ffconcat"], NOT_AUDIO["sdp"]])
def test_a_script_behind_a_magic_opens_nothing(magic: bytes, text: bytes) -> None:
    refused(magic + text * 50, UnsupportedAudio)


@pytest.mark.parametrize("demuxer", ["hls", "concat", "dash"])
def test_ffmpeg_may_not_open_anything_even_if_it_got_a_playlist(
    demuxer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line of defence, with the first taken away."""
    asked = []

    def recorded(url: str, *rest: object) -> None:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr(ffmpeg, "_refuse", recorded)
    monkeypatch.setitem(ffmpeg._DEMUXERS, "flac", demuxer)
    script = {"hls": HLS, "concat": NOT_AUDIO["concat"], "dash": DASH}[demuxer]
    with pytest.raises(UnsupportedAudio):
        ffmpeg.decode_ffmpeg(Span(opened(script)), "flac", Collector("mix", 9))
    assert asked or demuxer != "hls"


def test_mp4_without_audio() -> None:
    m4a = shipped("calm_voice_a.m4a")
    refused(m4a.replace(b"soun", b"vide"), UnsupportedAudio)
    refused(m4a.replace(b"mp4a", b"avc1"), UnsupportedAudio)
    refused(b"\0\0\0\x18ftypavif" + bytes(2_000), UnsupportedAudio)


def test_mp4_whose_samples_lie_in_another_file() -> None:
    """A data reference is not followed: what is heard comes from the upload's own bytes."""
    m4a = shipped("calm_voice_a.m4a")
    dref = m4a.index(b"dref") + 12
    url = b"file://" + str(LOCAL).encode() + b"\0"
    entry = struct.pack(">I", 12 + len(url)) + b"url \0\0\0\0" + url
    assert m4a[dref + 4 : dref + 8] == b"url "
    own = decode(opened(m4a), max_seconds=9).waveforms[0]
    forged = patched(m4a, b"url ", 0, b"\0\0\0\0")
    assert np.array_equal(decode(opened(forged), max_seconds=9).waveforms[0], own)
    forged = m4a[:dref] + entry + m4a[dref + 12 :]
    try:
        heard = decode(opened(forged), max_seconds=9).waveforms[0]
    except EmoseekError:
        return
    foreign = decode(opened(LOCAL.read_bytes()), max_seconds=9).waveforms[0]
    length = min(len(heard), len(foreign))
    assert not np.allclose(heard[:length], foreign[:length])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NoAudio),
        (wav(b""), NoAudio),
        (wav(b"", size=0xFFFF_FFFF), NoAudio),
        (wav(b"LIST\4\0\0\0INFO", size=0), NoAudio),
        (wav(b"x"), NoAudio),
        (wav(bytes(4_000))[:44], NoAudio),
        (wav(bytes(4_000))[:30], NoAudio),
        (written(np.zeros(0), 16_000, "FLAC", "PCM_16"), NoAudio),
        (wav(bytes(2 * 399)), NoAudio),
        (wav(bytes(2 * 399 * 3), rate=48_000), NoAudio),
        (wav(bytes(8_000), channels=0, block_align=2), UnsupportedAudio),
        (wav(bytes(8_000), channels=33, block_align=66), UnsupportedAudio),
        (wav(bytes(8_000), channels=65_535, block_align=2), UnsupportedAudio),
        (wav(bytes(8_000), rate=0), UnsupportedAudio),
        (wav(bytes(8_000), rate=1), UnsupportedAudio),
        (wav(bytes(8_000), rate=999), UnsupportedAudio),
        (wav(bytes(8_000), rate=768_001), UnsupportedAudio),
        (wav(bytes(8_000), rate=0xFFFF_FFFF), UnsupportedAudio),
        (wav(bytes(8_000), bits=0), UnsupportedAudio),
        (wav(bytes(8_000), bits=64), UnsupportedAudio),
        (wav(bytes(8_000), kind=3, bits=16), UnsupportedAudio),
        (wav(bytes(8_000), kind=0x161), UnsupportedAudio),
        (wav(bytes(8_000), kind=0xFFFE), UnsupportedAudio),
        (wav(bytes(8_000), kind=0xFFFE, extra=bytes(24)), UnsupportedAudio),
        (wav(bytes(8_000), kind=0x11, bits=4, rate=4_000_000_000), UnsupportedAudio),
        (wav(bytes(8_000)).replace(b"fmt ", b"fmx "), UnsupportedAudio),
        (wav(bytes(8_000), before=b"junk\0\0\0\0" * 2_000), UnsupportedAudio),
        (shipped("calm_voice_a.m4a")[:-9_000].replace(b"moov", b"moox"), UnsupportedAudio),
    ],
)
def test_headers_that_lead_nowhere(content: bytes, error: type[EmoseekError]) -> None:
    refused(content, error)


def _opus_of_8_channels() -> bytes:
    """An OGG whose header says 7.1: as many streams, each of the packets of a mono file."""
    mono = encoded(tone(1, 48_000), 48_000, "ogg", "libopus")
    pages, position = [], 0
    while position < len(mono):
        count = mono[position + 26]
        sizes = mono[position + 27 : position + 27 + count]
        end = position + 27 + count + sum(sizes)
        pages.append((mono[position : position + 26], sizes, mono[end - sum(sizes) : end]))
        position = end
    flags, _, head = pages[0]
    mapped = head[:9] + b"\x08" + head[10:18] + b"\x01\x08\x00" + bytes(range(8))
    rebuilt = [_page(flags, [mapped])]
    rebuilt.append(_page(pages[1][0], [pages[1][2]]))
    for flags, sizes, body in pages[2:]:
        packets, start = [], 0
        for size in sizes:
            packet, start = body[start : start + size], start + size
            assert 2 < size < 252
            framed = packet[:1] + bytes([size - 1]) + packet[1:]  # self-delimited, RFC 6716 B
            packets.append(framed * 7 + packet)
        rebuilt.append(_page(flags, packets))
    return b"".join(rebuilt)


def _page(flags: bytes, packets: list[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    page = flags[:22] + bytes(4) + bytes([len(lacing)]) + lacing + b"".join(packets)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return page[:22] + crc.to_bytes(4, "little") + page[26:]


def test_eight_planes_are_refused_before_pyav_touches_them() -> None:
    """Without the refusal this crashes the process (PyAV reads past the planes)."""
    assert "8 channels" in refused(_opus_of_8_channels(), UnsupportedAudio)


def test_400_samples_are_enough() -> None:
    assert len(decode(opened(wav(bytes(800))), max_seconds=1).waveforms[0]) == 400
    assert "0.0249" in refused(wav(bytes(798)), NoAudio)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [("FLOAT", 16_000), ("DOUBLE", 44_100)])
def test_samples_that_are_not_finite(value: float, kind: tuple[str, int]) -> None:
    samples = tone(0.5, 16_000)
    samples[5_000] = value
    assert "finite" in refused(written(samples, kind[1], "WAV", kind[0]), NoAudio)


def test_doubles_beyond_float32() -> None:
    assert "finite" in refused(written(np.full(4_000, 1e300), 44_100, "WAV", "DOUBLE"), NoAudio)
    loud = np.full(4_000, np.finfo(np.float32).max)
    loud[::2] *= -1
    refused(written(loud, 44_100, "WAV", "FLOAT"), NoAudio)  # overflows when resampled


def _hour_of_flac() -> bytes:
    return written(np.zeros(3_600 * 8_000, np.int16), 8_000, "FLAC", "PCM_16")


def _hour_of_mp3() -> bytes:
    minute = encoded(
        np.zeros(60 * 16_000), 16_000, "mp3", "libmp3lame", 8_000, write_xing="0", id3v2_version="0"
    )
    return minute * 60


def _hour_of_opus() -> bytes:
    return encoded(np.zeros(60 * 48_000), 48_000, "ogg", "libopus", 6_000) * 60


def _hour_of_aac() -> bytes:
    return encoded(np.zeros(60 * 16_000), 16_000, "adts", "aac", 8_000) * 60


def _hour_of_m4a() -> bytes:
    """Every packet of an hour is the same few bytes of the file."""
    m4a = encoded(np.zeros(16_000), 16_000, "ipod", "aac", 8_000)
    size = struct.unpack(">I", m4a[m4a.index(b"stsz") + 16 :][:4])[0]
    one_size = patched(m4a, b"stsz", 4, struct.pack(">II", size, 0xFFFF_FFFF))
    chunk = m4a[m4a.index(b"stco") + 12 :][:4]
    stco = b"stco" + struct.pack(">II", 0, 56_250) + chunk * 56_250
    one_each = patched(one_size, b"stsc", 12, struct.pack(">I", 1))
    start = one_each.index(b"stco") - 4
    old = struct.unpack(">I", one_each[start : start + 4])[0]
    grown = one_each[:start] + struct.pack(">I", len(stco) + 4) + stco + one_each[start + old :]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        length = struct.unpack(">I", grown[grown.index(box) - 4 :][:4])[0] + len(stco) + 4 - old
        grown = patched(grown, box, -8, struct.pack(">I", length))
    return grown


@pytest.mark.parametrize(
    "bomb", [_hour_of_flac, _hour_of_mp3, _hour_of_opus, _hour_of_aac, _hour_of_m4a]
)
def test_a_compressed_hour_is_refused_early(bomb) -> None:  # type: ignore[no-untyped-def]
    content = bomb()
    assert len(content) < 10 * 2**20
    started = time.perf_counter()
    assert "60 seconds" in refused(content, TooLarge, max_seconds=60)
    assert time.perf_counter() - started < 2  # seconds; an hour takes longer
    tracemalloc.start()
    refused(content, TooLarge, max_seconds=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 60 * 16_000 * 4  # bytes; an hour is 60 times that of a minute


def test_memory_is_bounded_by_the_limit_and_not_by_the_file() -> None:
    content = wav(bytes(8 << 20), rate=48_000, channels=2)
    tracemalloc.start()
    refused(content, TooLarge, max_seconds=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    "content",
    [
        patched(shipped("calm_voice_a.m4a"), b"stsz", 4, struct.pack(">II", 1, 0xFFFF_FFFF)),
        patched(shipped("calm_voice_a.m4a"), b"stsz", 4, struct.pack(">II", 0, 0xFFFF_FFFF)),
        patched(shipped("calm_voice_a.m4a"), b"stsc", 12, struct.pack(">I", 0xFFFF_FFFF)),
        patched(shipped("calm_voice_a.m4a"), b"stco", 4, struct.pack(">I", 0xFFFF_FFFF)),
        patched(shipped("calm_voice_a.m4a"), b"mdhd", 12, bytes(4)),
        patched(shipped("calm_voice_a.m4a"), b"elst", 4, b"\xff" * 16),
        shipped("calm_voice_a.m4a")[:36] + b"\0\0\0\x08free" * 300_000,
        shipped("calm_voice_a.m4a")[:36] + b"\0\0\0\x01free" + bytes(8) + bytes(100_000),
        shipped("calm_voice_a.aac") + b"\xff" * (4 << 20),
        shipped("calm_voice_a.aac") + b"\xff\xf1" * (2 << 20),
        shipped("calm_voice_a.flac")[:86] + b"\xff\xf8\xc9\x18" * (1 << 20),
        shipped("calm_voice_a.opus.ogg") + b"OggS" * (1 << 18),
        shipped("calm_voice_a.opus.ogg") + b"OggS" + b"\0" * 22 + b"\xff" * 256 * 15_000,
        b"RIFF\0\0\0\0WAVE" + b"abcd\0\0\0\0" * 500_000,
        wav(b"", size=0) + b"abcd\0\0\0\0" * 500_000,
    ],
)
def test_forged_tables_cost_little(content: bytes) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with contextlib.suppress(NoAudio, UnsupportedAudio, TooLarge):
        decode(opened(content), max_seconds=60)
    elapsed = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert elapsed < 5  # seconds
    assert peak < 40 << 20


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def test_fragments_without_packets_are_given_up() -> None:
    m4a = encoded(tone(0.5, 16_000), 16_000, "mp4", "aac", movflags="frag_keyframe+empty_moov")
    header = m4a[: m4a.index(b"moof") - 4]
    run = _box(b"trun", bytes(8))
    traf = _box(b"traf", _box(b"tfhd", struct.pack(">II", 0x20000, 1)) + run * 3)
    started = time.perf_counter()
    refused(header + _box(b"moof", traf) * 80_000, UnsupportedAudio)
    assert time.perf_counter() - started < 1


def test_a_rate_that_changes_all_the_time_is_given_up() -> None:
    frames = [
        _adts_frames(encoded(tone(1, rate), rate, "adts", "aac")) for rate in (96_000, 88_200)
    ]
    alternating = b"".join(a + b for a, b in zip(*frames, strict=False))
    assert "too often" in refused(alternating * 50, UnsupportedAudio)


def _adts_frames(content: bytes) -> list[bytes]:
    frames, position = [], 0
    while position < len(content):
        size = adts_frame_bytes(content[position : position + 7])
        assert size is not None
        frames.append(content[position : position + size])
        position += size
    return frames


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_the_file_is_called_does_not_matter(
    path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    misnamed = tmp_path / "concat:playlist.m3u8"
    misnamed.write_bytes(path.read_bytes())
    with misnamed.open("rb") as source:
        audio = decode(source, max_seconds=9)
    expected = decode(opened(path.read_bytes()), max_seconds=9)
    assert audio.container == expected.container
    assert np.array_equal(audio.waveforms[0], expected.waveforms[0])
