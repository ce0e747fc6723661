"""Fingerprints of recordings, by which a copy is known from another recording of the same words.

A frame of a fingerprint is 32 bits: whether the energy rises from one band to the next more than
it did two frames before, for 33 bands between 300 and 3000 Hz (Haitsma and Kalker, "A Highly Robust
Audio Fingerprinting System", ISMIR 2002). Encoders, gain, the telephone's band and light noise
leave most of the bits as they are; between recordings they are as good as independent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

SAMPLE_RATE: Final = 16_000
WINDOW: Final = 2048  # samples
HOP: Final = 512
BANDS: Final = 33  # one more than there are bits
LOWEST, HIGHEST = 300.0, 3000.0  # Hz
STEP: Final = 2  # frames between those that are compared in a bit
FLOOR_DB: Final = 30.0  # frames so far below the loud ones are not compared
LOUD: Final = 0.95  # quantile of the energy that is called loud: one click is not
FRAMES: Final = 1024  # worked out at once

# Two recordings are compared at the shift where they agree best, if the frames compared there are
OVERLAP: Final = 0.5  # of those of either that are not silent, and
FEWEST: Final = 12
PART: Final = 64  # frames: about two seconds, that have to agree by themselves
WORST: Final = 0.2  # quantile of the parts: a jingle before two different calls is not enough

# A descriptor tells how the bits of each band go on: for how many milliseconds after a frame they
# are still, or again, as they were there.
LAGS: Final = (1, 2, 3, 4, 6, 8, 12, 16)  # frames
DESCRIPTOR: Final = len(LAGS) * (BANDS - 1)  # numbers
# What they are in the mean of speech (EmoDB): differences over STEP frames overlap up to there.
_MEAN_BY_LAG: Final = (0.27, -0.21, -0.23, -0.09, -0.01, 0.0, 0.0, 0.0)
MEAN_DESCRIPTOR: Final = np.repeat(_MEAN_BY_LAG, BANDS - 1).astype(np.float32)

_FORMAT: Final = 1  # first byte of what is stored


@dataclasses.dataclass(frozen=True, slots=True)
class Fingerprint:
    """T frames of a recording, HOP samples apart."""

    bits: NDArray[np.uint32]  # (T,)
    heard: NDArray[np.bool_]  # (T,) whether there is something but silence

    def signs(self) -> NDArray[np.float32]:
        """(T, 32) the bits as -1 and 1, and 0 where nothing is heard."""
        octets = self.bits.astype("<u4").view(np.uint8).reshape(-1, 4)
        bits = np.unpackbits(octets, axis=1, bitorder="little")
        signs: NDArray[np.float32] = bits.astype(np.float32) * 2 - 1
        signs[~self.heard] = 0
        return signs

    def descriptor(self) -> NDArray[np.float32]:
        """(DESCRIPTOR,) by whose cosine copies of a recording are found among many: what its
        bits have in common with those some frames later, whatever was cut off or put before.
        Zeros where nothing is heard.
        """
        signs = self.signs()
        found = np.zeros((len(LAGS), BANDS - 1), np.float32)
        for row, lag in zip(found, LAGS, strict=True):
            both = int((self.heard[lag:] & self.heard[:-lag]).sum())
            if both:
                row[:] = np.einsum("ij,ij->j", signs[lag:], signs[:-lag]) / both
        return found.ravel()

    def packed(self) -> bytes:
        """For storage: four bytes a frame and a bit."""
        heard = np.packbits(self.heard).tobytes()
        return bytes([_FORMAT]) + self.bits.astype("<u4").tobytes() + heard

    @classmethod
    def unpacked(cls, stored: bytes) -> Fingerprint:
        """Raises ValueError where it is none, or of a later version."""
        count = (len(stored) - 1) * 8 // 33
        if not stored or stored[0] != _FORMAT or len(stored) != 1 + 4 * count + -(-count // 8):
            raise ValueError("This is no fingerprint of a version that is known here.")
        heard = np.frombuffer(stored, np.uint8, offset=1 + 4 * count)
        return cls(
            bits=np.frombuffer(stored, "<u4", count, 1).astype(np.uint32),
            heard=np.unpackbits(heard, count=count).astype(np.bool_),
        )


def fingerprint(waveform: NDArray[np.float32]) -> Fingerprint:
    """Of samples (N,) at 16 kHz; T is 0 for less than 0.2 seconds."""
    energies = [np.empty((0, BANDS), np.float32), *_energies(waveform)]
    energy = np.concatenate(energies)
    if len(energy) <= STEP:
        return Fingerprint(np.empty(0, np.uint32), np.empty(0, np.bool_))
    total = energy.sum(axis=1)
    quiet = np.quantile(total, LOUD) * 10 ** (-FLOOR_DB / 10)
    # What is left of a band that a codec emptied is not to be all noise of rounding.
    levels = np.log(energy + 1e-10 * max(float(total.max()), 1e-30))
    rises = np.diff(levels, axis=1)
    above = rises[STEP:] > rises[:-STEP]
    bits = np.packbits(above, axis=1, bitorder="little").view("<u4")[:, 0]
    return Fingerprint(
        bits=bits.astype(np.uint32),
        heard=np.minimum(total[STEP:], total[:-STEP]) > max(float(quiet), 1e-30),
    )


def _energies(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """(n, BANDS) of the frames, some at a time."""
    count = (len(waveform) - WINDOW) // HOP + 1
    for first in range(0, count, FRAMES):
        last = min(first + FRAMES, count)
        samples = np.asarray(waveform[first * HOP : (last - 1) * HOP + WINDOW], np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        spectra = fft.rfft(frames * _HANN, axis=1)[:, _FIRST_BIN:_PAST_BIN]
        # A product with a matrix of filters would wake BLAS's threads, which then wait for more
        # in a loop, on cores that the encoder has.
        below = np.zeros((len(spectra), spectra.shape[1] + 1))
        np.cumsum(np.square(spectra.real) + np.square(spectra.imag), axis=1, out=below[:, 1:])
        at_edges = below[:, _BINS] * (1 - _PARTS) + below[:, _BINS + 1] * _PARTS
        yield np.diff(at_edges, axis=1).astype(np.float32)


_HANN: Final = np.hanning(WINDOW).astype(np.float32)
# Bands have edges at equal ratios; of a bin at an edge a part counts for both sides.
_EDGES: Final = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * WINDOW / SAMPLE_RATE + 0.5  # in bins
_FIRST_BIN: Final = int(_EDGES[0])
_PAST_BIN: Final = int(_EDGES[-1]) + 1
_BINS: Final = (_EDGES - _FIRST_BIN).astype(np.int64)
_PARTS: Final = _EDGES - _EDGES.astype(np.int64)


class Comparison:
    """One fingerprint with many others."""

    def __init__(self, one: Fingerprint) -> None:
        self._one = one
        self._heard = int(one.heard.sum())
        self._spectra: dict[int, NDArray[np.complex64]] = {}  # by length

    def agreement(self, other: Fingerprint) -> float:
        """How far the other is the same recording: 1 less twice the share of bits that differ, at
        the best shift, in a worse part of it (see WORST). 1 for the same samples, about 0 for
        others; 0 where too little of both overlaps."""
        one = self._one
        needed = max(FEWEST, OVERLAP * max(self._heard, int(other.heard.sum())))
        if min(self._heard, int(other.heard.sum())) < needed:
            return 0.0
        length = 1 << (len(one.bits) + len(other.bits) - 1).bit_length()
        if length not in self._spectra:
            self._spectra[length] = _spectrum(one, length)
        crossed = np.conj(self._spectra[length]) * _spectrum(other, length)
        agreeing, compared = fft.irfft(
            np.stack([crossed[:-1].sum(axis=0), crossed[-1]]), length, axis=1
        )
        compared = np.rint(compared)
        enough = compared >= needed
        if not enough.any():
            return 0.0
        shift = int(np.argmax(np.where(enough, agreeing / np.maximum(compared, 1), -np.inf)))
        return _worse_part(one, other, shift if shift < len(other.bits) else shift - length)


def _spectrum(one: Fingerprint, length: int) -> NDArray[np.complex64]:
    """(33, length / 2 + 1) of the signs of each bit, and of the frames that are compared."""
    rows = np.zeros((BANDS, length), np.float32)
    rows[:-1, : len(one.bits)] = one.signs().T
    rows[-1, : len(one.bits)] = one.heard
    spectrum: NDArray[np.complex64] = fft.rfft(rows, axis=1)
    return spectrum


def _worse_part(one: Fingerprint, other: Fingerprint, shift: int) -> float:
    """Frame t of the one is frame t + shift of the other."""
    start, stop = max(0, -shift), min(len(one.bits), len(other.bits) - shift)
    mine, its = slice(start, stop), slice(start + shift, stop + shift)
    heard = one.heard[mine] & other.heard[its]
    differing = np.bitwise_count(one.bits[mine][heard] ^ other.bits[its][heard])
    agreeing = 1 - differing / 16
    parts = np.array_split(agreeing, max(1, len(agreeing) // PART))
    return float(np.quantile([part.mean() for part in parts], WORST))


def agreement(one: Fingerprint, other: Fingerprint) -> float:
    """`Comparison.agreement`, of a single pair."""
    return Comparison(one).agreement(other)
