"""Blocks of samples to waveforms: the limit, the choice of channels, the rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from app.audio.spool import Spool
from app.domain import SAMPLE_RATE, WINDOW, Channel, Waveform
from app.errors import InvalidParameter, NoAudio, TooLarge, UnsupportedAudio

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_CHANNELS = 32
_LOUDEST = 1e6  # beyond, the squares that models normalise by leave float32
_MAX_RATE_CHANGES = 100  # each costs a new resampler
BLOCK_VALUES = 65_536  # values (frames × channels) to take at a time

Block = NDArray[np.float32]  # (frames, channels), full scale ±1


class Collector:
    """Takes a file's blocks in order and makes 16 kHz waveforms of them.

    The limit of `max_seconds` of the source is enforced block by block, and memory is bounded
    whatever it is: long waveforms lie in files in `scratch`, see Spool. `begin` comes first,
    then `take` for each block, then `finish`, and `close` whatever happened.

    Args:
        go_on: called before each block is taken; what it raises ends the work.
    """

    def __init__(
        self,
        channel: Channel,
        max_seconds: float,
        scratch: Path | None = None,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        self.max_seconds = max_seconds
        self._go_on = go_on
        self._channel = channel
        self._rate = 0
        self._rate_changes = 0
        self._earlier = 0.0  # seconds taken at other rates than the present one
        self._frames = 0  # taken at the present rate
        self._pending: list[Block] = []  # chosen channels, not resampled yet
        self._pending_frames = 0
        self._resampler: soxr.ResampleStream | None = None
        # at 16 kHz, one for each waveform
        self._made = [Spool(scratch) for _ in range(2 if channel == "split" else 1)]

    @property
    def seconds(self) -> float:
        """Seconds of the source taken so far."""
        return self._earlier + (self._frames / self._rate if self._rate else 0.0)

    def begin(self, rate: int, channels: int) -> None:
        """Checks the file's format before anything is allocated for it.

        Raises UnsupportedAudio for an impossible rate or number of channels, and
        InvalidParameter when the asked channel is not there.
        """
        _check_format(rate, channels)
        if self._channel != "mix" and channels == 1:
            raise InvalidParameter(
                "channel", f"{self._channel} needs a stereo file, this one is mono"
            )
        if self._channel == "split" and channels > 2:
            raise InvalidParameter(
                "channel", f"split needs a file of 2 channels, this one has {channels}"
            )

    def take(self, block: Block, rate: int) -> None:
        """Adds a block. A file may change its rate or channels on the way.

        Raises TooLarge beyond the limit, NoAudio for samples that are not finite, Unavailable
        when the disk is full.
        """
        self._go_on()
        _check_format(rate, block.shape[1])
        if rate != self._rate:
            self._rate_changes += 1
            if self._rate_changes > _MAX_RATE_CHANGES:
                raise UnsupportedAudio("The file changes its sample rate too often.")
            self._close_rate()
            self._rate = rate
        self._frames += len(block)
        allowed = math.floor((self.max_seconds - self._earlier) * rate + 1e-6)
        if self._frames > allowed:
            raise TooLarge(f"The audio is longer than the limit of {self.max_seconds:g} seconds.")
        self._pending.append(self._choose(block))
        self._pending_frames += len(block)
        if self._pending_frames >= BLOCK_VALUES // 2:
            self._resample(last=False)

    def finish(self) -> tuple[Waveform, ...]:
        """The waveforms: one, or left and right where the channels are split.

        Raises NoAudio when too little came for one frame of the model.
        """
        self._close_rate()
        total = len(self._made[0])
        if total == 0:
            raise NoAudio("The file holds no audio.")
        if total < WINDOW:
            raise NoAudio(
                f"The audio is too short: {total / SAMPLE_RATE:.4f} s, at least "
                f"{WINDOW / SAMPLE_RATE:.3f} s is needed."
            )
        return tuple(spool.finish() for spool in self._made)

    def close(self) -> None:
        """Give up what was taken; waveforms that `finish` gave stay."""
        for spool in self._made:
            spool.close()

    def _choose(self, block: Block) -> Block:
        """(frames, 1), or (frames, 2) for split. A mono stretch of a stereo file is both."""
        channels = block.shape[1]
        if self._channel == "split":
            return block[:, :2] if channels >= 2 else np.repeat(block, 2, axis=1)
        if channels == 1 or self._channel == "left":
            return block[:, :1]
        if self._channel == "right":
            return block[:, 1:2]
        with np.errstate(all="ignore"):  # infinities are refused below
            mean = block.mean(axis=1, dtype=np.float64, keepdims=True)
            return np.asarray(mean, dtype=np.float32)

    def _resample(self, *, last: bool) -> None:
        columns = len(self._made)
        block = np.concatenate([np.empty((0, columns), np.float32), *self._pending])
        self._pending, self._pending_frames = [], 0
        _check_finite(block)  # before the resampler, which would smear it
        if self._rate != SAMPLE_RATE:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(
                    self._rate, SAMPLE_RATE, columns, dtype="float32", quality="HQ"
                )
            block = self._resampler.resample_chunk(block, last=last)
            _check_finite(block)
        for spool, column in zip(self._made, block.T, strict=True):
            spool.add(column)

    def _close_rate(self) -> None:
        if self._rate:
            self._resample(last=True)
        self._earlier = self.seconds
        self._frames = 0
        self._resampler = None


def _check_format(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnsupportedAudio(
            f"A sample rate of {rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz."
        )
    if channels < 1:
        raise UnsupportedAudio("The file has no channels.")
    if channels > MAX_CHANNELS:
        raise UnsupportedAudio(
            f"The file has {channels} channels, at most {MAX_CHANNELS} are accepted."
        )


def _check_finite(block: Block) -> None:
    if not np.isfinite(block).all():
        raise NoAudio("The audio holds samples that are not finite numbers.")
    if len(block) and max(float(block.max()), -float(block.min())) > _LOUDEST:
        raise NoAudio(f"The audio holds samples beyond {_LOUDEST:g}; full scale is 1.")
