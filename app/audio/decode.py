"""An uploaded file to waveforms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from app.audio.collect import Collector
from app.audio.ffmpeg import decode_ffmpeg
from app.audio.packets import Decoded
from app.audio.sniff import Container, sniff
from app.audio.span import Span, looks
from app.audio.wav import Riff, decode_plain, read_riff
from app.domain import Audio, Channel
from app.errors import NoAudio, UnsupportedAudio

_LOSSY_SLACK = 0.1  # seconds by which encoders' headers and frames differ anyway
_BELIEVED = 86_400.0  # seconds; a file that says it misses more is damaged where it says so


def decode(
    source: BinaryIO,
    *,
    channel: Channel = "mix",
    max_seconds: float,
    scratch: Path | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> Audio:
    """Decodes a WAV, FLAC, OGG (Vorbis, Opus), MP3, M4A or AAC file to 16 kHz waveforms.

    `source` is seekable and read from its first byte; what it is is told by its bytes. `mix`
    is the mean of all channels, `left` and `right` the first and the second, `split` both of
    a stereo file. 16 kHz audio passes unchanged, other rates go through soxr (HQ). Samples
    beyond ±1 stay. A damaged file gives what can be decoded, and warnings.

    At most `max_seconds` seconds of the source are accepted, whatever the file claims or
    unpacks to. A waveform of more than a minute is a read-only np.memmap of a file without a
    name in `scratch` (None: the system's place for temporary files), which goes with it.
    `go_on` is called for every block of samples; what it raises ends the work. Safe to call
    from many threads, each with its own source.

    Raises NoAudio, UnsupportedAudio, TooLarge, InvalidParameter for a channel that the file
    does not have, and Unavailable when the disk is full.
    """
    upload = Span(source, looks=looks(max_seconds))
    if not len(upload):
        raise NoAudio("The file is empty.")
    sniffed = sniff(upload)
    if sniffed is None:
        raise UnsupportedAudio("The file is not WAV, FLAC, OGG, MP3, M4A or AAC audio.")
    with contextlib.closing(Collector(channel, max_seconds, scratch, go_on)) as collector:
        if sniffed.container == "wav":
            riff = read_riff(upload)
            decoded = _decode_wav(source, riff, collector)
            if riff.missing:
                decoded.expected = collector.seconds * riff.declared / riff.size
        else:
            rest = Span(source, sniffed.start, looks=looks(max_seconds))
            decoded = decode_ffmpeg(rest, sniffed.container, collector)
        seconds = collector.seconds
        waveforms = collector.finish()
    return Audio(
        waveforms=waveforms,
        warnings=_warnings(decoded, seconds, sniffed.container),
        container=sniffed.container,
        codec=decoded.codec,
        sample_rate=decoded.sample_rate,
        channels=decoded.channels,
    )


def _decode_wav(source: BinaryIO, riff: Riff, collector: Collector) -> Decoded:
    if riff.compressed_codec:
        return decode_ffmpeg(riff.as_compressed(source), "wav", collector)
    codec = decode_plain(source, riff, collector)
    return Decoded(codec, riff.rate, riff.channels)


def _warnings(decoded: Decoded, seconds: float, container: Container) -> tuple[str, ...]:
    cause = "Parts of the file are damaged" if decoded.good_after_bad else "The file ends early"
    slack = 0.0 if container in ("wav", "flac") else _LOSSY_SLACK
    missing = (decoded.expected or 0.0) - seconds
    if slack + 1e-6 < missing < _BELIEVED:
        digits = 1 if missing >= 0.1 else 3
        told = f"{seconds:.{digits}f} s of {decoded.expected:.{digits}f} s could be decoded."
        return (f"{cause}: {told}",)
    if missing >= _BELIEVED or decoded.cut or decoded.bad_packets:
        return (f"{cause}: {seconds:.1f} s could be decoded.",)
    return ()
