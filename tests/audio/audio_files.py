"""Audio files built in the tests, sound and forged."""

from __future__ import annotations

import io
import pathlib
import struct
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

DATA = pathlib.Path(__file__).parent.parent / "data"
SHIPPED = sorted(path for path in DATA.iterdir() if path.is_file())


def shipped(name: str) -> bytes:
    return (DATA / name).read_bytes()


def opened(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> NDArray[Any]:
    """(N,) float64 sine."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def written(samples: NDArray[Any], rate: int, form: str, subtype: str, **more: Any) -> bytes:
    """A file as libsndfile writes it."""
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format=form, subtype=subtype, **more)
    return target.getvalue()


def encoded(
    samples: NDArray[Any], rate: int, form: str, codec: str, bits: int = 48_000, **options: str
) -> bytes:
    """A file as FFmpeg writes it; samples (N,) or (N, 2)."""
    columns = samples.reshape(len(samples), -1)
    layout = "mono" if columns.shape[1] == 1 else "stereo"
    target = io.BytesIO()
    with av.open(target, "w", format=form, options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = layout, bits
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(columns.T, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or 1024)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return target.getvalue()


def wav(
    samples: bytes,
    *,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    kind: int = 1,
    block_align: int | None = None,
    size: int | None = None,
    extra: bytes = b"",
    before: bytes = b"",
    magic: bytes = b"RIFF",
    order: str = "<",
) -> bytes:
    """A WAV with any header, true or not. `extra` is the rest of fmt, `before` more chunks."""
    align = channels * bits // 8 if block_align is None else block_align
    fmt = struct.pack(order + "HHIIHH", kind, channels, rate, 0, align, bits) + extra
    size = len(samples) if size is None else size
    body = b"WAVE" + before + b"fmt " + struct.pack(order + "I", len(fmt)) + fmt
    body += b"data" + struct.pack(order + "I", size) + samples
    return magic + struct.pack(order + "I", len(body) & 0xFFFF_FFFF) + body


def extensible(kind: int) -> bytes:
    """The rest of a WAVE_FORMAT_EXTENSIBLE fmt chunk."""
    guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
    return struct.pack("<HHI", 22, 16, 0) + guid


def patched(content: bytes, name: bytes, offset: int, value: bytes) -> bytes:
    """`content` with `value` written `offset` bytes behind the first `name`."""
    start = content.index(name) + len(name) + offset
    return content[:start] + value + content[start + len(value) :]
