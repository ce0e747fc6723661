"""Which container an upload is, told by its first bytes and nothing else.

Everything not recognised here is refused before a demuxer sees it. That is what keeps FFmpeg
from being handed playlists, concat scripts, SDP and the like, which name other files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from app.audio.span import Span

Container = Literal["wav", "flac", "ogg", "mp3", "m4a", "aac"]

_ID3_HEADER = 10  # bytes
_MAX_ID3_TAGS = 4
_MAX_OGG_PAGE = 65_307  # bytes
_MAX_PADDING = 65_536  # zero bytes that some taggers leave behind an ID3 tag

# kbit/s by the header's index; index 0 (free format) and 15 (invalid) are not accepted
_MPEG1_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)  # Hz; halved for MPEG 2, quartered for MPEG 2.5


class Sniffed(NamedTuple):
    """A container and the byte at which it begins, behind any ID3v2 tags."""

    container: Container
    start: int


def sniff(upload: Span) -> Sniffed | None:
    """The container of `upload`, or None when it is none that is accepted."""
    head = upload.at(0, 12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return Sniffed("wav", 0)
    if head[:4] == b"OggS":
        return Sniffed("ogg", 0)
    if head[4:8] == b"ftyp":
        return Sniffed("m4a", 0)
    start = _behind_id3(upload)
    if upload.at(start, 4) == b"fLaC":
        return Sniffed("flac", start)
    if start:
        padding = upload.at(start, _MAX_PADDING)
        start += len(padding) - len(padding.lstrip(b"\0"))
    if _chained(upload, start, mp3_frame_bytes):
        return Sniffed("mp3", start)
    if _chained(upload, start, adts_frame_bytes):
        return Sniffed("aac", start)
    return None


def mp3_frame_bytes(header: bytes) -> int | None:
    """Length of the MPEG layer III frame that begins with these 4 bytes, None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3 MPEG 1, 2 MPEG 2, 0 MPEG 2.5
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    if version == 3:
        return 144_000 * _MPEG1_BITRATES[bitrate] // _MPEG1_RATES[rate] + padding
    hertz = _MPEG1_RATES[rate] >> (1 if version == 2 else 2)
    return 72_000 * _MPEG2_BITRATES[bitrate] // hertz + padding


def adts_frame_bytes(header: bytes) -> int | None:
    """Length of the ADTS AAC frame that begins with these 7 bytes, None if it is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] & 0x3C > 0x30:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else None


def ogg_end(upload: Span) -> int | None:
    """Granule position (for audio: samples) at which the last Ogg page ends its stream.

    None when that page is cut short, or not said to be the last.
    """
    tail = upload.at(max(0, len(upload) - _MAX_OGG_PAGE), _MAX_OGG_PAGE)
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS") or len(page) < 27 or len(page) < 27 + page[26]:
        return None
    body = sum(page[27 : 27 + page[26]])
    if not page[5] & 4 or len(page) < 27 + page[26] + body:
        return None
    return max(0, int.from_bytes(page[6:14], "little", signed=True))


def _behind_id3(upload: Span) -> int:
    start = 0
    for _ in range(_MAX_ID3_TAGS):
        tag = upload.at(start, _ID3_HEADER)
        if len(tag) < _ID3_HEADER or tag[:3] != b"ID3" or max(tag[6:10]) > 0x7F:
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        footer = _ID3_HEADER if tag[5] & 0x10 else 0
        start += _ID3_HEADER + size + footer
    return start


def _chained(upload: Span, start: int, frame_bytes: Callable[[bytes], int | None]) -> bool:
    """Whether a frame begins at `start` and another, or the end of the file, follows it."""
    size = frame_bytes(upload.at(start, 7))
    if size is None:
        return False
    following = upload.at(start + size, 7)
    return len(following) < 7 or frame_bytes(following) is not None
