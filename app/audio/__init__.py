"""Uploads to 16 kHz mono waveforms, and waveforms to files. Knows no HTTP and no store."""

from app.audio.decode import decode
from app.audio.encode import samples_sha256, write_flac, write_npy, write_wav
from app.audio.spool import Spool, blocks, release

__all__ = [
    "Spool",
    "blocks",
    "decode",
    "release",
    "samples_sha256",
    "write_flac",
    "write_npy",
    "write_wav",
]
