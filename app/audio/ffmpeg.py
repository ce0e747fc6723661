"""FLAC, OGG, MP3, M4A, AAC and compressed WAV through PyAV (FFmpeg).

FFmpeg can open other files and URLs that a file names, and its demuxers are many. So: the
demuxer is forced from our own look at the bytes, every request to open something else is
refused by `io_open`, only the decoders listed here may run, ID3 tags (whose compressed frames
unpack to gigabytes) are cut off before, and M4A and AAC are taken apart in Python. Measured
against libsndfile on damaged files FFmpeg loses less and prints nothing on stderr, which is
why it reads also what libsndfile could.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import av
import av.logging

from app.audio import mp4
from app.audio.collect import Collector
from app.audio.packets import DAMAGE, Decoded, decode_packets
from app.audio.sniff import Container, adts_frame_bytes, mp3_frame_bytes, ogg_end
from app.audio.span import Span
from app.errors import UnsupportedAudio

# FFmpeg's messages quote the upload and belong in no log; errors arrive as exceptions.
av.logging.set_level(None)

_DEMUXERS: Final[dict[Container, str]] = {
    "wav": "wav",
    "flac": "flac",
    "ogg": "ogg",
    "mp3": "mp3",
}
_CODECS: Final[dict[Container, tuple[str, ...]]] = {
    "wav": ("adpcm_ms", "adpcm_ima_wav", "gsm_ms", "mp3float"),
    "flac": ("flac",),
    "ogg": ("vorbis", "opus", "flac"),
    "mp3": ("mp3float",),
}


def decode_ffmpeg(upload: Span, container: Container, collector: Collector) -> Decoded:
    """Gives the collector all samples of `upload`, which begins with `container`'s magic.

    Raises UnsupportedAudio, and whatever the collector refuses.
    """
    if container == "aac":
        return _decode_raw("aac", b"", _adts_packets(upload), collector)
    if container == "m4a":
        track = mp4.read_track(upload)
        return _decode_raw(
            track.codec, track.extradata, mp4.packets(upload, track), collector, track
        )
    options = {
        "codec_whitelist": ",".join(_CODECS[container]),
        "format_whitelist": _DEMUXERS[container],
        "protocol_whitelist": "",
    }
    try:
        with av.open(
            upload,
            "r",
            format=_DEMUXERS[container],
            options=options,
            metadata_errors="replace",
            io_open=_refuse,
        ) as opened:
            return _decode_stream(opened, upload, container, collector)
    except DAMAGE as exc:
        raise UnsupportedAudio(f"The {container.upper()} file is damaged beyond decoding.") from exc


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise ValueError("an upload may not open anything else")


def _decode_stream(
    opened: av.container.InputContainer, upload: Span, container: Container, collector: Collector
) -> Decoded:
    for stream in opened.streams.audio:
        context = stream.codec_context
        if context is not None and context.name in _CODECS[container]:  # None: no such decoder
            break
    else:
        raise UnsupportedAudio(f"The {container.upper()} file has no audio of an accepted codec.")
    context.thread_count = 1
    if context.name == "flac":  # or else damaged frames come as noise
        context.options = {"err_detect": "crccheck+explode"}
    decoded = Decoded(context.name, context.sample_rate or 0, context.channels or 0)
    if container == "ogg":
        end = ogg_end(upload)
        decoded.cut = end is None
        rate = 48_000 if context.name == "opus" else decoded.sample_rate
        if end and rate and stream.time_base:
            start = float((stream.start_time or 0) * stream.time_base)
            decoded.expected = end / rate - start
    elif stream.duration and stream.time_base and _promises_length(upload, container):
        decoded.expected = float(stream.duration * stream.time_base)
    decode_packets(context, opened.demux(stream), decoded, collector)
    return decoded


def _decode_raw(
    codec: str,
    extradata: bytes,
    packets: Iterator[bytes],
    collector: Collector,
    track: mp4.Track | None = None,
) -> Decoded:
    """Packets that need no demuxer of FFmpeg's, trimmed to what their track says."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.AudioCodecContext)
    if extradata:
        context.extradata = extradata
    decoded = Decoded(codec, 0, 0, expected=track.duration if track else None)
    wrapped = (av.Packet(packet) if packet else None for packet in packets)
    decode_packets(context, wrapped, decoded, collector, track.delay if track else 0.0)
    return decoded


def _adts_packets(upload: Span) -> Iterator[bytes]:
    """The frames of an ADTS file, empty for bytes that are none or a frame cut short."""
    position = 0
    while len(header := upload.at(position, 7)) == 7 and header[:3] != b"TAG":
        size = adts_frame_bytes(header)
        if size is None:
            yield b""
            found = upload.at(position + 1, 65_536).find(b"\xff")
            position += 1 + (found if found >= 0 else 65_536)
        else:
            yield upload.whole(position, size)
            position += size


def _promises_length(upload: Span, container: Container) -> bool:
    """Whether the duration that FFmpeg gives is the file's own and no guess from its size."""
    if container != "mp3":
        return container == "flac"
    first = upload.at(0, mp3_frame_bytes(upload.at(0, 4)) or 0)
    return any(tag in first[:200] for tag in (b"Xing", b"Info", b"VBRI"))
