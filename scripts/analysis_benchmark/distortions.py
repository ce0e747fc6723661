"""What happens to a recording on its way to another file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from app.audio import decode
from app.domain import SAMPLE_RATE, Waveform

LONGEST: Final = 3600.0  # seconds that are decoded
SILENCE: Final = 0.5  # seconds at each end
NOISE_DB: Final = 25.0  # below the recording's power

Samples = NDArray[np.floating]


def _encoded(
    waveform: Waveform, codec: str, container: str, rate: int, bit_rate: int | None = None
) -> bytes:
    samples = waveform if rate == SAMPLE_RATE else soxr.resample(waveform, SAMPLE_RATE, rate)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as opened:
        stream = opened.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[np.newaxis], np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            opened.mux(stream.encode(part))
        opened.mux(stream.encode(None))
    return file.getvalue()


def _decoded(content: bytes) -> Waveform:
    [waveform] = decode(io.BytesIO(content), max_seconds=LONGEST).waveforms
    return np.array(waveform, np.float32)


def mp3_32k(waveform: Waveform) -> Waveform:
    return _decoded(_encoded(waveform, "libmp3lame", "mp3", SAMPLE_RATE, 32_000))


def opus_16k(waveform: Waveform) -> Waveform:
    return _decoded(_encoded(waveform, "libopus", "ogg", 48_000, 16_000))


def aac_64k(waveform: Waveform) -> Waveform:
    return _decoded(_encoded(waveform, "aac", "mp4", 44_100, 64_000))


def flac_48k(waveform: Waveform) -> Waveform:
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(waveform, SAMPLE_RATE, 48_000), 48_000, format="FLAC")
    return _decoded(file.getvalue())


def quieter(waveform: Waveform) -> Waveform:
    """By 20 dB, in 16 bits."""
    return _rounded(waveform * 10 ** (-20 / 20))


def louder(waveform: Waveform) -> Waveform:
    """By 10 dB, clipped."""
    return _rounded(waveform * 10 ** (10 / 20))


def trimmed(waveform: Waveform) -> Waveform:
    """A tenth gone at each end."""
    tenth = len(waveform) // 10
    return waveform[tenth : len(waveform) - tenth]


def padded(waveform: Waveform) -> Waveform:
    silence = np.zeros(int(SILENCE * SAMPLE_RATE), np.float32)
    return np.concatenate([silence, waveform, silence])


def telephone(waveform: Waveform) -> Waveform:
    """300 to 3400 Hz at 8 kHz, 8 bits of A-law."""
    band = butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")
    narrow = soxr.resample(sosfiltfilt(band, waveform), SAMPLE_RATE, 8_000)
    file = io.BytesIO()
    soundfile.write(file, narrow.clip(-1, 1), 8_000, format="WAV", subtype="ALAW")
    return _decoded(file.getvalue())


def noisy(waveform: Waveform) -> Waveform:
    """White noise, 25 dB below the recording."""
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    deviation = np.sqrt(power * 10 ** (-NOISE_DB / 10))
    noise = np.random.default_rng(len(waveform)).standard_normal(len(waveform)) * deviation
    mixed: Waveform = (waveform + noise).astype(np.float32)
    return mixed


def _rounded(waveform: Samples) -> Waveform:
    rounded: Waveform = (np.rint(waveform.clip(-1, 1) * 32767) / 32767).astype(np.float32)
    return rounded


DISTORTIONS: Final[dict[str, Callable[[Waveform], Waveform]]] = {
    "MP3, 32 kbit/s": mp3_32k,
    "Opus, 16 kbit/s": opus_16k,
    "AAC, 64 kbit/s, 44.1 kHz": aac_64k,
    "FLAC, 48 kHz": flac_48k,
    "20 dB quieter": quieter,
    "10 dB louder, clipped": louder,
    "10 % trimmed at each end": trimmed,
    "0.5 s of silence at each end": padded,
    "telephone band, 8 kHz": telephone,
    "white noise at 25 dB": noisy,
}
