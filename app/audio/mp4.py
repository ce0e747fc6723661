"""AAC and ALAC packets of an MP4 (M4A) file.

FFmpeg's demuxer is not used for these: it follows references to other files, unpacks
compressed headers, and fills an index entry for each of the thousands of millions of packets
that a few forged bytes can claim. This one reads tables lazily and believes only what is there.

Sources: ISO/IEC 14496-12 (boxes), 14496-14 (esds), QuickTime File Format (sound descriptions).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audio.span import Span
from app.errors import UnsupportedAudio

_MAX_BOXES = 1_000  # looked at in one box
_MAX_TRACKS = 16
_MAX_TABLE = 1 << 22  # bytes of one table that are read: 1,048,576 packets
_MAX_PACKET = 1 << 20  # bytes
_AAC_OBJECT_TYPES = (0x40, 0x66, 0x67, 0x68)  # MPEG-4 and MPEG-2 AAC
_OWN_BASE, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10  # flags of tfhd
_OFFSET, _FIRST_FLAGS, _ROW = 0x1, 0x4, (0x100, 0x200, 0x400, 0x800)  # flags of trun


class Box(NamedTuple):
    """A box's name and where its content lies; `end` is no further than its parent's."""

    name: bytes
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """The first audio track of an accepted codec."""

    id: int
    codec: str  # aac or alac
    extradata: bytes  # as FFmpeg's decoder wants it
    delay: float  # seconds of encoder delay to leave out at the start
    duration: float | None  # seconds behind the delay, None when the file does not say
    tables: Box  # stbl
    default_size: int  # bytes a packet in fragments that do not say


def read_track(upload: Span) -> Track:
    """Raises UnsupportedAudio when there is no header or no track of AAC or ALAC."""
    moov = _child(upload, _whole(upload), b"moov")
    if moov is None:
        raise UnsupportedAudio("The M4A file has no header (moov); it may have been cut short.")
    sizes = {
        _u32(upload, box.start + 4): _u32(upload, box.start + 16)
        for mvex in _children(upload, moov, b"mvex")
        for box in _children(upload, mvex, b"trex")
    }
    for trak in itertools.islice(_children(upload, moov, b"trak"), _MAX_TRACKS):
        track = _read_trak(upload, trak, sizes)
        if track is not None:
            return track
    raise UnsupportedAudio("The M4A file has no audio of an accepted codec (AAC or ALAC).")


def packets(upload: Span, track: Track) -> Iterator[bytes]:
    """The track's packets in order, empty where the file does not hold all of one."""
    for start, size in _table_packets(upload, track.tables):
        yield upload.whole(start, size)
    for moof in _boxes(upload, _whole(upload)):
        if moof.name == b"moof":
            for start, size in _fragment_packets(upload, moof, track):
                yield upload.whole(start, size)


def _read_trak(upload: Span, trak: Box, default_sizes: dict[int, int]) -> Track | None:
    mdia = _child(upload, trak, b"mdia")
    minf = mdia and _child(upload, mdia, b"minf")
    stbl = minf and _child(upload, minf, b"stbl")
    hdlr = mdia and _child(upload, mdia, b"hdlr")
    stsd = stbl and _child(upload, stbl, b"stsd")
    if not (mdia and stbl and hdlr and stsd) or upload.at(hdlr.start + 8, 4) != b"soun":
        return None
    entry = next(_boxes(upload, Box(b"stsd", stsd.start + 8, stsd.end)), None)
    described = entry and _read_description(upload, entry)
    if not described:
        return None
    tkhd = _child(upload, trak, b"tkhd")
    long = tkhd is not None and upload.at(tkhd.start, 1) == b"\1"
    track_id = _u32(upload, tkhd.start + (20 if long else 12)) if tkhd else 0
    timescale, ticks = _media_time(upload, mdia)
    delay = _edit_start(upload, trak) / timescale
    duration = ticks / timescale - delay
    return Track(
        track_id,
        *described,
        delay=delay,
        duration=duration if duration > 0 else None,
        tables=stbl,
        default_size=default_sizes.get(track_id, 0),
    )


def _read_description(upload: Span, entry: Box) -> tuple[str, bytes] | None:
    """Codec and extradata of a sound description of QuickTime version 0, 1 or 2."""
    version = int.from_bytes(upload.at(entry.start + 8, 2), "big")
    inner = Box(entry.name, entry.start + 28 + {1: 16, 2: 36}.get(version, 0), entry.end)
    for box in (inner, *_children(upload, inner, b"wave")):
        if entry.name == b"mp4a" and (esds := _child(upload, box, b"esds")):
            return _read_esds(upload.at(esds.start + 4, min(esds.end - esds.start, 1_024)))
        if entry.name == b"alac" and (alac := _child(upload, box, b"alac")):
            config = upload.at(alac.start, 28)  # version, flags and the 24 bytes of settings
            return ("alac", b"\0\0\0\x24alac" + config) if len(config) == 28 else None
    return None


def _read_esds(esds: bytes) -> tuple[str, bytes] | None:
    """The AudioSpecificConfig within ES, DecoderConfig and DecoderSpecific descriptors."""
    position, object_type = 0, 0
    while position + 1 < len(esds):
        tag = esds[position]
        size, position = 0, position + 1
        for _ in range(4):  # seven bits of the size a byte, while the eighth is set
            byte = esds[position] if position < len(esds) else 0
            size, position = size << 7 | byte & 0x7F, position + 1
            if byte < 0x80:
                break
        if tag == 0x03:  # ES: id and flags, with up to three optional fields
            flags = esds[position + 2] if position + 2 < len(esds) else 0
            url = esds[position + 3] + 1 if flags & 0x40 and position + 3 < len(esds) else 0
            position += 3 + (2 if flags & 0x80 else 0) + url + (2 if flags & 0x20 else 0)
        elif tag == 0x04 and position < len(esds):
            object_type = esds[position]
            position += 13
        elif tag == 0x05:
            config = esds[position : position + size]
            return ("aac", config) if object_type in _AAC_OBJECT_TYPES and config else None
        else:
            position += size
    return None


def _media_time(upload: Span, mdia: Box) -> tuple[int, int]:
    """Ticks a second (1 when the file does not say) and ticks of the whole track."""
    mdhd = _child(upload, mdia, b"mdhd")
    if mdhd is None:
        return 1, 0
    if upload.at(mdhd.start, 1) == b"\1":
        long = upload.at(mdhd.start + 24, 8)
        return _u32(upload, mdhd.start + 20) or 1, int.from_bytes(long, "big")
    return _u32(upload, mdhd.start + 12) or 1, _u32(upload, mdhd.start + 16)


def _edit_start(upload: Span, trak: Box) -> int:
    """Media ticks that the edit list leaves out at the start."""
    edts = _child(upload, trak, b"edts")
    elst = edts and _child(upload, edts, b"elst")
    if not elst:
        return 0
    long = upload.at(elst.start, 1) == b"\1"
    row, width = (20, 8) if long else (12, 4)
    for index in range(min(_u32(upload, elst.start + 4), 4)):
        begins = upload.at(elst.start + 8 + index * row + width, width)
        ticks = int.from_bytes(begins, "big", signed=True)
        if ticks >= 0:  # -1 is an empty edit
            return ticks
    return 0


def _table_packets(upload: Span, stbl: Box) -> Iterator[tuple[int, int]]:
    """Position and size of each packet that the tables of an unfragmented file list."""
    stsz, stsc = _child(upload, stbl, b"stsz"), _child(upload, stbl, b"stsc")
    stco, co64 = _child(upload, stbl, b"stco"), _child(upload, stbl, b"co64")
    if not (stsz and stsc and (stco or co64)):
        return
    size, count = _u32(upload, stsz.start + 4), _u32(upload, stsz.start + 8)
    sizes = np.empty(0, np.int64) if size else _table(upload, stsz, 12, ">u4")
    chunks = _table(upload, stco, 8, ">u4") if stco else _table(upload, co64, 8, ">u8")
    runs = _table(upload, stsc, 8, ">u4")
    runs = runs[: len(runs) // 3 * 3].reshape(-1, 3)
    packet, run = 0, 0
    for number, chunk in enumerate(chunks.tolist(), 1):
        while run + 1 < len(runs) and runs[run + 1, 0] <= number:
            run += 1
        position = int(chunk)
        for _ in range(int(runs[run, 1]) if len(runs) else 0):
            if packet >= (count if size else min(count, len(sizes))):
                return
            length = size or int(sizes[packet])
            yield position, min(length, _MAX_PACKET)
            position += length
            packet += 1


def _fragment_packets(upload: Span, moof: Box, track: Track) -> Iterator[tuple[int, int]]:
    for traf in _children(upload, moof, b"traf"):
        tfhd = _child(upload, traf, b"tfhd")
        if tfhd is None or _u32(upload, tfhd.start + 4) != track.id:
            continue
        flags = _u32(upload, tfhd.start) & 0xFF_FFFF
        base, field, default = moof.start - 8, tfhd.start + 8, track.default_size
        if flags & _OWN_BASE:
            base, field = int.from_bytes(upload.at(field, 8), "big"), field + 8
        field += 4 * bool(flags & _DESCRIPTION) + 4 * bool(flags & _DURATION)
        if flags & _SIZE:
            default = _u32(upload, field)
        position = base
        for trun in _children(upload, traf, b"trun"):
            flags = _u32(upload, trun.start) & 0xFF_FFFF
            field = trun.start + 8
            if flags & _OFFSET:
                offset = int.from_bytes(upload.at(field, 4), "big", signed=True)
                position, field = base + offset, field + 4
            field += 4 * bool(flags & _FIRST_FLAGS)
            columns = sum(bool(flags & bit) for bit in _ROW)
            rows = None
            if flags & _ROW[1]:
                table = _table(upload, trun, field - trun.start, ">u4")
                rows = table[: len(table) // columns * columns].reshape(-1, columns)
            count = _u32(upload, trun.start + 4)
            if count == 0:
                yield 0, 0  # a damaged packet, so that endless empty runs are given up
            for index in range(count):
                if rows is not None and index >= len(rows):
                    return
                length = default if rows is None else int(rows[index, 1 if flags & _ROW[0] else 0])
                yield max(0, position), min(length, _MAX_PACKET)
                position += length


def _table(upload: Span, box: Box | None, offset: int, dtype: str) -> NDArray[np.int64]:
    if box is None:
        return np.empty(0, np.int64)
    content = upload.at(box.start + offset, max(0, min(box.end - box.start - offset, _MAX_TABLE)))
    width = np.dtype(dtype).itemsize
    return np.frombuffer(content[: len(content) // width * width], dtype).astype(np.int64)


def _whole(upload: Span) -> Box:
    return Box(b"", 0, len(upload))


def _boxes(upload: Span, parent: Box) -> Iterator[Box]:
    position = parent.start
    # In the file itself there may be more: a low-latency recording has two for each packet.
    # There the upload's looks are the limit.
    for _ in range(_MAX_BOXES) if parent.name else itertools.count():
        head = upload.at(position, 16)
        if position + 8 > parent.end or len(head) < 8:
            return
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = parent.end - position
        if size < header:
            return
        yield Box(head[4:8], position + header, min(position + size, parent.end))
        position += size


def _children(upload: Span, parent: Box, name: bytes) -> Iterator[Box]:
    return (box for box in _boxes(upload, parent) if box.name == name)


def _child(upload: Span, parent: Box, name: bytes) -> Box | None:
    return next(_children(upload, parent, name), None)


def _u32(upload: Span, offset: int) -> int:
    return int.from_bytes(upload.at(offset, 4), "big")
