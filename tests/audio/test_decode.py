"""Every accepted format, width, rate and channel comes out as the waveform it holds."""

from __future__ import annotations

import concurrent.futures
import struct
import tempfile

import av
import numpy as np
import pytest
import soundfile
from audio_files import (
    DATA,
    SHIPPED,
    encoded,
    extensible,
    opened,
    patched,
    shipped,
    tone,
    wav,
    written,
)

from app.audio import decode
from app.domain import Audio, Waveform
from app.errors import InvalidParameter, TooLarge

FULL_SCALE = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24}


def heard(content: bytes, max_seconds: float = 60.0) -> Audio:
    return decode(opened(content), max_seconds=max_seconds)


def only(audio: Audio) -> Waveform:
    (waveform,) = audio.waveforms
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert waveform.flags.c_contiguous
    return waveform


def likeness(one: Waveform, other: Waveform) -> float:
    """Largest normalised correlation within 0.1 s of shift, for codecs that delay."""
    length = min(len(one), len(other))
    one, other = one[:length].astype(float), other[:length].astype(float)
    size = 2 * length
    cross = np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size).conj(), size)
    near = np.concatenate([cross[:1600], cross[-1600:]])
    return float(near.max() / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize(
    ("name", "container", "codec", "rate", "channels"),
    [
        ("calm_voice_a.flac", "flac", "flac", 16_000, 1),
        ("calm_voice_a.vorbis.ogg", "ogg", "vorbis", 16_000, 1),
        ("calm_voice_a.opus.ogg", "ogg", "opus", 48_000, 1),
        ("calm_voice_a.mp3", "mp3", "mp3float", 44_100, 1),
        ("calm_voice_a.m4a", "m4a", "aac", 44_100, 2),
        ("calm_voice_a.aac", "aac", "aac", 44_100, 1),
    ],
)
def test_the_same_clip_in_every_format(
    name: str, container: str, codec: str, rate: int, channels: int
) -> None:
    audio = heard(shipped(name))
    assert (audio.container, audio.codec) == (container, codec)
    assert (audio.sample_rate, audio.channels) == (rate, channels)
    assert audio.warnings == ()
    original, _ = soundfile.read(DATA / "calm_voice_a.flac", dtype="float32")
    assert len(only(audio)) == pytest.approx(len(original), abs=700 if container == "aac" else 1)
    assert likeness(only(audio), original) > 0.97


def test_16_khz_passes_bit_exactly() -> None:
    samples = np.arange(-(2**15), 2**15, dtype=np.int16)
    expected = samples.astype(np.float32) / np.float32(2**15)
    for content in (
        written(samples, 16_000, "WAV", "PCM_16"),
        written(samples, 16_000, "FLAC", "PCM_16"),
        wav(samples.tobytes()),
    ):
        assert np.array_equal(only(heard(content)), expected)


def test_24_bit_flac_is_exact() -> None:
    samples = np.random.default_rng(0).integers(-(2**23), 2**23, 5_000).astype(np.int32)
    content = written(samples << 8, 16_000, "FLAC", "PCM_24")
    assert np.array_equal(only(heard(content)), samples.astype(np.float32) / np.float32(2**23))


@pytest.mark.parametrize("subtype", FULL_SCALE)
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_integer_widths(subtype: str, form: str) -> None:
    samples = tone(0.2, 16_000)
    waveform = only(heard(written(samples, 16_000, form, subtype)))
    assert np.abs(waveform - samples).max() <= FULL_SCALE[subtype]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_float_beyond_full_scale_is_passed_on(subtype: str, form: str) -> None:
    samples = tone(0.2, 16_000, level=3.5).astype(np.float32)
    audio = heard(written(samples, 16_000, form, subtype))
    assert np.array_equal(only(audio), samples)
    assert audio.codec == {"FLOAT": "pcm_f32le", "DOUBLE": "pcm_f64le"}[subtype]


@pytest.mark.parametrize(("subtype", "codec"), [("ALAW", "pcm_alaw"), ("ULAW", "pcm_mulaw")])
def test_telephone_companding(subtype: str, codec: str) -> None:
    samples = tone(0.2, 16_000)
    audio = heard(written(samples, 16_000, "WAV", subtype))
    assert audio.codec == codec
    assert np.abs(only(audio) - samples).max() < 0.02


@pytest.mark.parametrize(
    ("subtype", "codec"),
    [("MS_ADPCM", "adpcm_ms"), ("IMA_ADPCM", "adpcm_ima_wav"), ("GSM610", "gsm_ms")],
)
def test_compressed_wav(subtype: str, codec: str) -> None:
    samples = tone(1.0, 8_000, hertz=300)
    audio = heard(written(samples, 8_000, "WAV", subtype))
    assert (audio.codec, audio.warnings) == (codec, ())
    assert len(only(audio)) == pytest.approx(16_000, abs=1_100)
    assert likeness(only(audio), tone(1.0, 16_000, hertz=300).astype(np.float32)) > 0.97


def test_big_endian_and_long_wav() -> None:
    samples = np.arange(-1_000, 1_000, dtype=np.int16)
    expected = samples.astype(np.float32) / np.float32(2**15)
    big = heard(wav(samples.astype(">i2").tobytes(), magic=b"RIFX", order=">"))
    assert big.codec == "pcm_s16be"
    assert np.array_equal(only(big), expected)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, 4_000, 2_000, 0)
    trailing = b"LIST" + struct.pack("<I", 400) + bytes(400)
    content = wav(samples.tobytes() + trailing, magic=b"RF64", before=ds64, size=0xFFFF_FFFF)
    assert np.array_equal(only(heard(content)), expected)


def test_12_bits_within_16_of_an_extensible_wav() -> None:
    samples = np.arange(-2_048, 2_048, dtype=np.int16) << 4
    content = wav(samples.tobytes(), bits=12, block_align=2, kind=0xFFFE, extra=extensible(1))
    assert np.array_equal(only(heard(content)), samples.astype(np.float32) / np.float32(2**15))


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF - 36])
def test_sizes_that_a_streaming_writer_leaves(size: int) -> None:
    samples = np.arange(-4_000, 4_000, dtype=np.int16)
    audio = heard(wav(samples.tobytes(), size=size))
    assert len(only(audio)) == 8_000
    assert audio.warnings == ()


def test_chunks_before_and_behind_the_samples_are_not_heard() -> None:
    samples = np.full(1_000, 100, np.int16).tobytes()
    odd = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    content = wav(samples, before=odd) + b"id3 " + struct.pack("<I", 600) + b"\x7f" * 600
    assert np.array_equal(only(heard(content)), np.full(1_000, 100 / 2**15, np.float32))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_rates_keep_pitch_level_and_length(rate: int, form: str) -> None:
    waveform = only(heard(written(tone(1.0, rate), rate, form, "PCM_16")))
    assert len(waveform) == 16_000
    inner = slice(500, -500)  # the resampler's edges ring
    assert np.abs(waveform - tone(1.0, 16_000))[inner].max() < 1e-3


def test_resampling_does_not_depend_on_the_container() -> None:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, 150_000).astype(np.int16)
    from_wav = only(heard(written(samples, 44_100, "WAV", "PCM_16")))
    from_flac = only(heard(written(samples, 44_100, "FLAC", "PCM_16")))
    assert np.array_equal(from_wav, from_flac)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_mix_is_the_mean_of_all_channels(channels: int, form: str) -> None:
    samples = np.random.default_rng(channels).integers(-(2**14), 2**14, (4_000, channels))
    audio = heard(written(samples.astype(np.int16), 16_000, form, "PCM_16"))
    assert audio.channels == channels
    assert np.allclose(only(audio), samples.mean(axis=1) / 2**15, atol=1e-7)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_left_right_and_split(form: str) -> None:
    left, right = tone(0.5, 16_000, 300), tone(0.5, 16_000, 500, level=0.25)
    content = written(np.stack([left, right], axis=1), 16_000, form, "PCM_16")
    heard_left = only(decode(opened(content), channel="left", max_seconds=9))
    heard_right = only(decode(opened(content), channel="right", max_seconds=9))
    assert np.abs(heard_left - left).max() < 2**-15
    assert np.abs(heard_right - right).max() < 2**-15
    both = decode(opened(content), channel="split", max_seconds=9)
    assert np.array_equal(both.waveforms[0], heard_left)
    assert np.array_equal(both.waveforms[1], heard_right)
    assert all(waveform.flags.c_contiguous for waveform in both.waveforms)


def test_the_two_sides_of_the_shipped_call_differ() -> None:
    left, right = decode(
        opened(shipped("stereo_call_48k.flac")), channel="split", max_seconds=9
    ).waveforms
    assert len(left) == len(right) == pytest.approx(1.1 * 16_000, abs=1)
    assert abs(likeness(left, right)) < 0.5


@pytest.mark.parametrize(
    ("channel", "channels"),
    [("left", 1), ("right", 1), ("split", 1), ("split", 3)],
)
@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_channels_that_are_not_there(channel: str, channels: int, form: str) -> None:
    content = written(np.zeros((2_000, channels)), 16_000, form, "PCM_16")
    with pytest.raises(InvalidParameter, match=channel) as refused:
        decode(opened(content), channel=channel, max_seconds=9)  # type: ignore[arg-type]
    assert refused.value.parameter == "channel"


def test_a_side_that_is_not_finite_does_not_spoil_the_other() -> None:
    samples = np.stack([tone(0.1, 16_000), np.full(1_600, np.nan)], axis=1)
    content = written(samples, 16_000, "WAV", "FLOAT")
    waveform = only(decode(opened(content), channel="left", max_seconds=9))
    assert np.array_equal(waveform, samples[:, 0].astype(np.float32))


def test_id3_in_front() -> None:
    mp3 = shipped("calm_voice_a.mp3")
    assert mp3.startswith(b"ID3")
    tag = b"ID3\4\0\0\0\0\2\0" + bytes(256)
    plain = only(heard(mp3))
    assert np.array_equal(only(heard(tag + mp3)), plain)  # two tags
    size = 10 + (mp3[8] << 7) + mp3[9]
    assert np.array_equal(only(heard(mp3[size:])), plain)  # none
    assert np.array_equal(only(heard(mp3[:size] + bytes(999) + mp3[size:])), plain)  # padding
    flac = shipped("calm_voice_a.flac")
    assert np.array_equal(only(heard(tag + flac)), only(heard(flac)))


def test_mp3_without_a_length_is_not_called_damaged() -> None:
    mp3 = encoded(tone(2.0, 16_000), 16_000, "mp3", "libmp3lame", write_xing="0", id3v2_version="0")
    assert not mp3.startswith(b"ID3")
    assert b"Xing" not in mp3
    assert b"Info" not in mp3
    audio = heard(mp3)
    assert audio.warnings == ()
    assert len(only(audio)) == pytest.approx(32_000, abs=3_000)


@pytest.mark.parametrize(
    "movflags",
    ["+disable_chpl", "frag_keyframe+empty_moov+default_base_moof", "frag_every_frame+empty_moov"],
)
@pytest.mark.parametrize("codec", ["aac", "alac"])
@pytest.mark.parametrize("form", ["mp4", "ipod", "mov"])
def test_kinds_of_m4a(movflags: str, codec: str, form: str) -> None:
    samples = np.stack([tone(1.5, 44_100), tone(1.5, 44_100, level=0.25)], axis=1)
    audio = heard(encoded(samples, 44_100, form, codec, movflags=movflags))
    assert (audio.codec, audio.channels, audio.warnings) == (codec, 2, ())
    # without an edit list nothing says how much the encoder put in front
    assert len(only(audio)) == pytest.approx(
        24_000, abs=750 if "empty_moov" in movflags and codec == "aac" else 1
    )
    assert likeness(only(audio), tone(1.5, 16_000, level=0.375).astype(np.float32)) > 0.95


def test_alac_is_exact() -> None:
    samples = tone(0.5, 16_000)
    waveform = only(heard(encoded(samples, 16_000, "ipod", "alac")))
    assert np.abs(waveform - samples).max() <= 2**-15


def test_m4a_reads_as_ffmpeg_reads_it() -> None:
    content = shipped("calm_voice_a.m4a")
    with av.open(opened(content), "r") as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    expected = np.concatenate(frames, axis=1).mean(axis=0)
    at_44k = only(decode(opened(content), max_seconds=9))
    import soxr

    again = soxr.resample(expected.astype(np.float32), 44_100, 16_000, "HQ")[: len(at_44k)]
    assert np.abs(again - at_44k)[:-200].max() < 1e-4


@pytest.mark.parametrize("ticks", [1, 20_000, 0xFFFF_FFFF])
def test_an_m4a_that_lies_about_its_length_is_heard_whole(ticks: int) -> None:
    content = shipped("calm_voice_a.m4a")
    lying = patched(content, b"mdhd", 16, struct.pack(">I", ticks))
    waveform, honest = only(heard(lying)), only(heard(content))
    assert len(waveform) >= len(honest)
    inner = len(honest) - 200
    assert np.array_equal(waveform[:inner], honest[:inner])


def test_a_picture_in_a_flac_is_no_trouble() -> None:
    content = shipped("calm_voice_a.flac")
    png = b"\x89PNG\r\n\x1a\n" + bytes(200)
    picture = struct.pack(">II9sI4x4x4x4xI", 3, 9, b"image/png", 0, len(png)) + png
    block = bytes([6]) + len(picture).to_bytes(3, "big") + picture
    audio = heard(content[:42] + block + content[42:])  # behind STREAMINFO
    assert audio.warnings == ()
    assert np.array_equal(only(audio), only(heard(content)))


def test_mp3_in_wav() -> None:
    mp3 = encoded(tone(1.0, 16_000), 16_000, "mp3", "libmp3lame", write_xing="0", id3v2_version="0")
    audio = heard(wav(mp3, kind=0x55, bits=0, block_align=1))
    assert (audio.container, audio.codec, audio.warnings) == ("wav", "mp3float", ())
    assert likeness(only(audio), tone(1.0, 16_000).astype(np.float32)) > 0.95


def test_flac_in_ogg() -> None:
    samples = tone(1.0, 16_000)
    audio = heard(encoded(samples, 16_000, "ogg", "flac"))
    assert (audio.container, audio.codec, audio.warnings) == ("ogg", "flac", ())
    assert np.abs(only(audio) - samples).max() <= 2**-15


def test_silence_and_denormals_are_audio() -> None:
    assert not only(heard(wav(bytes(8_000)))).any()
    tiny = np.full(4_000, 1e-42, np.float32)
    for rate in (16_000, 44_100):
        waveform = only(heard(written(tiny, rate, "WAV", "FLOAT")))
        assert np.abs(waveform).max() < 1e-41


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_exactly_the_limit_is_allowed_and_a_frame_more_is_not(rate: int, form: str) -> None:
    samples = np.zeros(rate * 2 + 1, np.int16)
    allowed = written(samples[:-1], rate, form, "PCM_16")
    assert len(only(heard(allowed, max_seconds=2))) == 32_000
    with pytest.raises(TooLarge, match="limit of 2 seconds"):
        heard(written(samples, rate, form, "PCM_16"), max_seconds=2)


def test_an_m4a_of_exactly_the_limit_is_allowed() -> None:
    content = encoded(tone(2.0, 44_100), 44_100, "ipod", "aac")
    assert len(only(heard(content, max_seconds=2))) == 32_000


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_source_need_not_be_at_its_start_and_stays_open(path) -> None:  # type: ignore[no-untyped-def]
    source = opened(path.read_bytes())
    source.seek(1_000)
    audio = decode(source, max_seconds=9)
    assert np.isfinite(only(audio)).all()
    assert not source.closed


@pytest.mark.parametrize("max_size", [100, 1 << 20])
def test_an_upload_of_the_web_framework(max_size: int) -> None:
    content = shipped("calm_voice_a.flac")
    with tempfile.SpooledTemporaryFile(max_size) as source:
        source.write(content)
        audio = decode(source, max_seconds=9)
    assert np.array_equal(only(audio), only(heard(content)))


def test_many_threads_at_once() -> None:
    contents = [path.read_bytes() for path in SHIPPED] * 3
    alone = [only(heard(content)) for content in contents]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = [only(audio) for audio in pool.map(heard, contents)]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
