"""Packets of any source through FFmpeg's decoder into the collector."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np

from app.audio.collect import Block, Collector
from app.errors import NoAudio, TooLarge, UnsupportedAudio

# What PyAV raises for damaged files: FFmpeg's errors, and Python's for impossible fields.
DAMAGE = (av.error.FFmpegError, ValueError, OverflowError, RuntimeError)

# Sample format to the zero and the full scale of its values.
_SCALES: Final[dict[str, tuple[float, float]]] = {
    "u8": (128.0, 2.0**7),
    "s16": (0.0, 2.0**15),
    "s32": (0.0, 2.0**31),
    "flt": (0.0, 1.0),
    "dbl": (0.0, 1.0),
}
_MAX_PACKETS_PER_SECOND = 1_000  # of any accepted codec; Opus has at most 400
_MAX_BAD_RUN = 1_000  # packets in a row that fail before the rest is given up
_MAX_PADDING = 8_192  # frames at most that an encoder adds at either end
# PyAV 18 reads a frame's planes up to a null pointer that is only there below eight of them:
# touching a frame of more crashes the process.
_MAX_PLANES = 7
_GAP = 0.1  # seconds by which time stamps run ahead where something is missing


@dataclasses.dataclass(slots=True)
class Decoded:
    """What was learnt of a file while its samples went to the collector."""

    codec: str
    sample_rate: int  # Hz
    channels: int
    expected: float | None = None  # seconds that the file promises, None when it does not
    bad_packets: int = 0
    cut: bool = False  # an Ogg stream that was not closed: it promises no length
    good_after_bad: bool = False  # damage in the middle rather than at the end


def decode_packets(
    context: av.AudioCodecContext,
    packets: Iterator[av.Packet[Any] | None],
    decoded: Decoded,
    collector: Collector,
    delay: float | None = None,
) -> None:
    """Decodes all packets, None among them for what the file does not hold all of.

    Packets that fail are counted and left out. With a `delay` (seconds), that is left out at
    the start, and what lies behind the promised end too, as far as it can be padding.

    Raises UnsupportedAudio when nothing could be decoded, NoAudio when there was nothing, and
    TooLarge for more packets than audio of the allowed length can have.
    """
    sink: _Trimmed | None = None
    first = 0.0  # seconds at which the time stamps begin
    bad_run = 0
    for packet in _counted(packets, collector):
        frames = _frames(context, packet)
        if frames is None:
            decoded.bad_packets += 1
            bad_run += 1
            if bad_run > _MAX_BAD_RUN:
                break
            continue
        for frame in frames:
            block, rate, time = _samples(frame), frame.sample_rate, frame.time or 0.0
            if sink is None:
                first = time
                decoded.sample_rate, decoded.channels = rate, block.shape[1]
                collector.begin(rate, block.shape[1])
                end = decoded.expected if delay is not None else None
                sink = _Trimmed(collector, round((delay or 0.0) * rate), end)
            gap = time - first > collector.seconds + _GAP
            decoded.good_after_bad |= gap or decoded.bad_packets > 0
            sink.take(block, rate)
            bad_run = 0
    if sink is None:
        if decoded.bad_packets:
            raise UnsupportedAudio("The file is damaged beyond decoding.")
        raise NoAudio("The file holds a header and no audio.")


class _Trimmed:
    """A collector without an encoder's padding in front of the audio and behind its end.

    What lies behind `end` (seconds) is held back, and given after all once it is more than
    padding can be: then the end was wrong. So is a delay (frames) that is longer.
    """

    def __init__(self, collector: Collector, delay: int, end: float | None) -> None:
        self._collector = collector
        self._delay = delay if delay <= _MAX_PADDING else 0
        self._end = end
        self._held: list[Block] = []

    def take(self, block: Block, rate: int) -> None:
        block, self._delay = block[self._delay :], max(0, self._delay - len(block))
        if self._end is not None:
            inside = max(0, round((self._end - self._collector.seconds) * rate))
            if inside < len(block):
                self._held.append(block[inside:])
                block = block[:inside]
            if sum(map(len, self._held)) > _MAX_PADDING:
                self._end = None
                block = np.concatenate([block, *self._held])
        if len(block):
            self._collector.take(block, rate)


def _counted(
    packets: Iterator[av.Packet[Any] | None], collector: Collector
) -> Iterator[av.Packet[Any] | None]:
    """The packets up to where the file cannot be read on, and no more than a limit's worth."""
    for _ in range(int(_MAX_PACKETS_PER_SECOND * (collector.max_seconds + 1))):
        try:
            packet = next(packets)
        except (StopIteration, *DAMAGE):
            return
        yield packet
    raise TooLarge(f"The audio is longer than the limit of {collector.max_seconds:g} seconds.")


def _frames(
    context: av.AudioCodecContext, packet: av.Packet[Any] | None
) -> list[av.AudioFrame] | None:
    """What a packet decodes to, None where it is damaged or the file does not hold all of it."""
    if packet is None:
        return None
    try:
        return context.decode(packet)
    except DAMAGE:
        return None


def _samples(frame: av.AudioFrame) -> Block:
    """(frames, channels) float32; integers of up to 24 bits exactly.

    Raises UnsupportedAudio for a lossy file of more than 7 channels.
    """
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > _MAX_PLANES:
        raise UnsupportedAudio(
            f"The file has {channels} channels, at most {_MAX_PLANES} are accepted of its codec."
        )
    zero, scale = _SCALES[frame.format.name.removesuffix("p")]
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    with np.errstate(all="ignore"):  # doubles beyond float32 are refused by the collector
        return (values.astype(np.float32) - np.float32(zero)) / np.float32(scale)
