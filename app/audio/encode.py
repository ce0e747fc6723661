"""Waveforms to files and to the hash by which duplicates are found."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import soundfile

from app.domain import SAMPLE_RATE, Waveform


def encode_flac(waveform: Waveform) -> bytes:
    """16 kHz mono FLAC of 24 bits, for keeping a clip.

    24 bits keep a resampled waveform to -138 dB, so that a clip that is embedded again from
    its kept audio gives what it gave at first; FLAC stores the eight zero bits of 16-bit
    audio in no space, so that plain recordings pay nothing for it and come back exactly.
    Samples beyond ±1 are clipped.
    """
    scaled = np.rint(waveform.astype(np.float64) * 2**23)
    samples = np.clip(scaled, -(2**23), 2**23 - 1).astype(np.int32) << 8
    return _write(samples, "FLAC", "PCM_24")


def encode_wav(waveform: Waveform) -> bytes:
    """16 kHz mono WAV of 16-bit PCM, for clients.

    Always 16 bits: many readers, Python's `wave` among them, refuse float WAV. 16-bit 16 kHz
    audio comes back exactly; anything else is rounded, and clipped beyond ±1.
    """
    scaled = np.rint(waveform.astype(np.float64) * 2**15)
    return _write(np.clip(scaled, -(2**15), 2**15 - 1).astype(np.int16), "WAV", "PCM_16")


def samples_sha256(waveform: Waveform) -> str:
    """Hex SHA-256 of the samples: equal for the same samples in whatever container.

    Hashes little-endian float32, with -0.0 as 0.0.
    """
    canonical = np.ascontiguousarray(waveform + np.float32(0.0), dtype="<f4")
    return hashlib.sha256(canonical.data).hexdigest()


def _write(samples: np.ndarray[tuple[int], np.dtype[np.integer]], form: str, kind: str) -> bytes:
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format=form, subtype=kind)
    return encoded.getvalue()
