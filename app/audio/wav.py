"""RIFF WAV: the header is read here, plain samples by libsndfile, the rest by FFmpeg.

Header fields are often wrong in recordings of calls (zero or huge sizes of streaming writers,
a data chunk cut short), so only what the bytes that are really there allow is believed.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import BinaryIO

import soundfile

from app.audio.collect import BLOCK_VALUES, Collector
from app.audio.span import Span
from app.errors import NoAudio, UnsupportedAudio

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # behind the tag of a subformat
_COMPRESSED = {0x02: "adpcm_ms", 0x11: "adpcm_ima_wav", 0x31: "gsm_ms", 0x55: "mp3float"}
# (tag, bytes a sample) to libsndfile's subtype and FFmpeg's name of the codec
_PLAIN = {
    (_PCM, 1): ("PCM_U8", "pcm_u8"),
    (_PCM, 2): ("PCM_16", "pcm_s16le"),
    (_PCM, 3): ("PCM_24", "pcm_s24le"),
    (_PCM, 4): ("PCM_32", "pcm_s32le"),
    (_FLOAT, 4): ("FLOAT", "pcm_f32le"),
    (_FLOAT, 8): ("DOUBLE", "pcm_f64le"),
    (_ALAW, 1): ("ALAW", "pcm_alaw"),
    (_MULAW, 1): ("ULAW", "pcm_mulaw"),
}
_MAX_CHUNKS = 1_000
_MAX_FMT = 1_024  # bytes
_PLACEHOLDER = 0x7FFF_0000  # data sizes from here on are a streaming writer's "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Riff:
    """What a WAV header says, corrected by what is there."""

    big_endian: bool
    tag: int
    channels: int
    rate: int  # Hz
    block_align: int  # bytes a frame, or a compressed block
    bits: int
    fmt: bytes  # the whole fmt chunk
    start: int  # of the samples, in bytes
    size: int  # bytes of samples that are there
    declared: int  # bytes of samples that should be there

    @property
    def missing(self) -> bool:
        return self.declared > self.size

    @property
    def compressed_codec(self) -> str | None:
        """FFmpeg's name of a codec that libsndfile is not asked to read, else None."""
        return None if self.big_endian else _COMPRESSED.get(self.tag)

    def as_compressed(self, source: BinaryIO) -> Span:
        """The samples behind a minimal header, for FFmpeg.

        A fresh header repairs the sizes and keeps every other chunk from FFmpeg, such as an
        ID3 tag whose compressed frames unpack to gigabytes.
        """
        fmt = self.fmt + b"\0" * (len(self.fmt) % 2)
        head = b"WAVEfmt " + struct.pack("<I", len(self.fmt)) + fmt
        size = min(self.size, _PLACEHOLDER)
        head += b"data" + struct.pack("<I", size)
        prefix = b"RIFF" + struct.pack("<I", len(head) + size) + head
        return Span(source, self.start, self.size, prefix)


def read_riff(upload: Span) -> Riff:
    """Reads the chunks up to the samples. Raises UnsupportedAudio or NoAudio."""
    big_endian = upload.at(0, 4) == b"RIFX"
    order = ">" if big_endian else "<"
    position, fmt, long_size = 12, b"", None
    for _ in range(_MAX_CHUNKS):
        head = upload.at(position, 8)
        if len(head) < 8:
            raise NoAudio("The WAV file holds a header and no samples.")
        name, size = head[:4], struct.unpack(order + "I", head[4:])[0]
        position += 8
        if name == b"fmt ":
            fmt = upload.at(position, min(size, _MAX_FMT))
        elif name == b"ds64":
            ds64 = upload.at(position, 16)
            long_size = struct.unpack(order + "Q", ds64[8:])[0] if len(ds64) == 16 else None
        elif name == b"data":
            if size == 0xFFFF_FFFF and long_size is not None:
                size = long_size
            break
        position += size + size % 2
    else:
        raise UnsupportedAudio("The WAV file has too many chunks before its samples.")
    if len(fmt) < 14:
        raise UnsupportedAudio("The WAV file does not say what its samples are.")
    tag, channels, rate, _, block_align = struct.unpack(order + "HHIIH", fmt[:14])
    bits = struct.unpack(order + "H", fmt[14:16])[0] if len(fmt) >= 16 else 8
    if tag == _EXTENSIBLE:
        if len(fmt) < 40 or fmt[26:40] != _GUID_TAIL:
            raise UnsupportedAudio("The WAV file's samples are of an unknown kind.")
        tag = struct.unpack(order + "H", fmt[24:26])[0]
    there = len(upload) - position
    if size == 0 and not _only_chunks(upload, position, order):
        size = there  # a streaming writer that never came back to fill it in
    elif size >= _PLACEHOLDER and size > there:
        size = there
    if min(size, there) == 0:
        raise NoAudio("The WAV file holds a header and no samples.")
    return Riff(
        big_endian, tag, channels, rate, block_align, bits, fmt, position, min(size, there), size
    )


def decode_plain(source: BinaryIO, riff: Riff, collector: Collector) -> str:
    """Gives the collector all samples of a WAV of plain ones and returns their codec.

    Raises UnsupportedAudio for kinds of samples that are not known.
    """
    collector.begin(riff.rate, riff.channels)
    width, odd = divmod(riff.block_align, riff.channels)
    if odd or not width:
        width = (riff.bits + 7) // 8
    subtype, codec = _PLAIN.get((riff.tag, width), ("", ""))
    if not subtype:
        raise UnsupportedAudio(
            f"The WAV file's samples (kind {riff.tag:#06x}, {8 * width} bits) are not accepted."
        )
    frame = width * riff.channels
    samples = Span(source, riff.start, riff.size // frame * frame)
    # RAW, so that libsndfile only converts and parses nothing of an untrusted header.
    with soundfile.SoundFile(
        samples,
        samplerate=riff.rate,
        channels=riff.channels,
        subtype=subtype,
        format="RAW",
        endian="BIG" if riff.big_endian else "LITTLE",
    ) as reader:
        while len(block := reader.read(BLOCK_VALUES // riff.channels, "float32", always_2d=True)):
            collector.take(block, riff.rate)
    return codec.replace("le", "be") if riff.big_endian else codec


def _only_chunks(upload: Span, position: int, order: str) -> bool:
    """Whether the rest of the file is nothing, or chunks that end exactly with it."""
    for _ in range(_MAX_CHUNKS):
        if position == len(upload):
            return True
        head = upload.at(position, 8)
        if len(head) < 8 or not head[:4].isascii() or not head[:4].decode().isprintable():
            return False
        size = struct.unpack(order + "I", head[4:])[0]
        position += 8 + size + size % 2
    return False
