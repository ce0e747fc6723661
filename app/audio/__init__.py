"""Uploads to 16 kHz mono waveforms, and waveforms to files. Knows no HTTP and no store."""

from app.audio.decode import decode
from app.audio.encode import encode_flac, encode_wav, samples_sha256

__all__ = ["decode", "encode_flac", "encode_wav", "samples_sha256"]
