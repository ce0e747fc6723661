"""Waveforms to files and to the hash by which duplicates are found.

All of it block by block: a waveform of hours may lie on disk.
"""

from __future__ import annotations

import hashlib
import wave
from typing import BinaryIO

import numpy as np
import soundfile

from app.audio.spool import blocks
from app.domain import SAMPLE_RATE, Waveform

BLOCK = 1 << 18  # samples


def write_flac(waveform: Waveform, file: BinaryIO) -> None:
    """16 kHz mono FLAC of 24 bits, for keeping a clip. `file` is empty and seekable.

    24 bits keep a resampled waveform to -138 dB, so that a clip that is embedded again from
    its kept audio gives what it gave at first; FLAC stores the eight zero bits of 16-bit
    audio in no space, so that plain recordings pay nothing for it and come back exactly.
    Samples beyond ±1 are clipped.

    Raises OSError when the file cannot be written.
    """
    target = _Target(file)
    try:
        with soundfile.SoundFile(
            target,
            "w",
            SAMPLE_RATE,
            channels=1,
            format="FLAC",
            subtype="PCM_24",
        ) as writer:
            for block in blocks(waveform, BLOCK):
                writer.write(_integers(block, 24).astype(np.int32) << 8)
    except (soundfile.SoundFileError, AssertionError):  # which is how it takes a short write
        if target.failure is None:
            raise
    if target.failure is not None:
        raise target.failure


def write_wav(waveform: Waveform, file: BinaryIO) -> None:
    """16 kHz mono WAV of 16-bit PCM, for clients.

    Always 16 bits: many readers, Python's `wave` among them, refuse float WAV. 16-bit 16 kHz
    audio comes back exactly; anything else is rounded, and clipped beyond ±1.

    Raises OSError when the file cannot be written.
    """
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, SAMPLE_RATE, len(waveform), "NONE", ""))
        for block in blocks(waveform, BLOCK):
            writer.writeframesraw(_integers(block, 16).astype("<i2").data)


def write_npy(array: np.ndarray, file: BinaryIO) -> None:
    """A float32 array as `np.save` writes it. Raises OSError."""
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    rows = array.reshape(len(array), -1)
    for block in blocks(array, max(1, BLOCK // rows.shape[1])):
        file.write(np.ascontiguousarray(block).data)


def samples_sha256(waveform: Waveform) -> str:
    """Hex SHA-256 of the samples: equal for the same samples in whatever container.

    Hashes little-endian float32, with -0.0 as 0.0.
    """
    digest = hashlib.sha256()
    for block in blocks(waveform, BLOCK):
        digest.update(np.ascontiguousarray(block + np.float32(0.0), dtype="<f4").data)
    return digest.hexdigest()


def _integers(block: Waveform, bits: int) -> np.ndarray:
    scale = 2.0 ** (bits - 1)
    return np.clip(np.rint(block.astype(np.float64) * scale), -scale, scale - 1)


class _Target:
    """A file for libsndfile, whose callbacks cannot raise: keeps what went wrong."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, content: bytes) -> int:
        if self.failure is None:
            try:
                return self._file.write(content)
            except OSError as exc:
                self.failure = exc
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        if self.failure is None:
            try:
                return self._file.seek(offset, whence)
            except OSError as exc:  # of what was still to be written
                self.failure = exc
        return 0

    def tell(self) -> int:
        return self._file.tell()
