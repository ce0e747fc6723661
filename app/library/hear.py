"""An upload to what is heard in it."""

from __future__ import annotations

from typing import BinaryIO

from app.audio import decode
from app.domain import Audio, Channel, ClipRecognition
from app.library.library import Library
from app.recogniser import Flow, recognise_clip


def hear(
    library: Library,
    source: BinaryIO,
    channel: Channel,
    flow: Flow,
    *,
    frame_scores: bool = False,
    frame_embeddings: bool = False,
) -> tuple[Audio, list[ClipRecognition]]:
    """Decodes an uploaded file and recognises each channel of it, for one who is in the gate.

    Raises:
        NoAudio, UnsupportedAudio, TooLarge, InvalidParameter: the file was refused.
        Unavailable: the disk is full, or the service stops.
        ClientGone: the flow was cancelled.
    """

    def go_on() -> None:
        library.gate.check(flow)

    scratch = library.settings.data_dir
    audio = decode(
        source,
        channel=channel,
        max_seconds=library.settings.max_seconds,
        scratch=scratch,
        go_on=go_on,
    )
    return audio, [
        recognise_clip(
            library.recogniser,
            waveform,
            flow,
            frame_scores=frame_scores,
            frame_embeddings=frame_embeddings,
            scratch=scratch,
            go_on=go_on,
        )
        for waveform in audio.waveforms
    ]
