"""An upload to what is heard in it."""

from __future__ import annotations

import logging
from typing import BinaryIO

from app.audio import decode
from app.domain import Audio, Channel, ClipRecognition
from app.errors import EmoseekError, Unavailable
from app.library.library import Library
from app.library.spaces import Space
from app.recogniser import Flow, recognise_clip

log = logging.getLogger(__name__)


class Hearing:
    """An upload, decoded, and what models heard in it; for one who is in the gate.

    Args:
        frame_scores, frame_embeddings: whether to give those of all frames too.

    Raises:
        NoAudio, UnsupportedAudio, TooLarge, InvalidParameter: the file was refused.
        Unavailable: the disk is full, or the service stops.
        ClientGone: the flow was cancelled.
    """

    def __init__(
        self,
        library: Library,
        source: BinaryIO,
        channel: Channel,
        flow: Flow,
        *,
        frame_scores: bool = False,
        frame_embeddings: bool = False,
    ) -> None:
        self._library = library
        self._flow = flow
        self._frames = {"frame_scores": frame_scores, "frame_embeddings": frame_embeddings}
        self._heard: dict[int, list[ClipRecognition]] = {}  # by the model's row
        self._tried: set[int] = set()  # rows of models
        self.audio: Audio = decode(
            source,
            channel=channel,
            max_seconds=library.settings.max_seconds,
            scratch=library.settings.data_dir,
            go_on=self._go_on,
        )

    def hear(self) -> None:
        """Recognises each channel with the models that have not. The one beside may fail, and so
        may one that was dropped meanwhile.

        Raises:
            NoAudio: the active model makes no finite numbers of the samples.
            Unavailable: the disk is full, or the service stops.
            ClientGone: the flow was cancelled.
        """
        space = self._library.spaces.active
        try:
            self.by(space)
        except Unavailable:
            if space in self._library.spaces:
                raise
        self.hear_beside()

    def hear_beside(self) -> None:
        """As `hear`, with the model beside the active one only."""
        space = self._library.spaces.beside
        if space is None:
            return
        try:
            self.by(space)
        except Exception as exc:
            self._go_on()  # whatever it was, unless nobody waits for an answer
            told = exc.detail if isinstance(exc, EmoseekError) else repr(exc)
            log.warning("%s did not hear a new clip: %s", space.model.id, told)

    def by(self, space: Space) -> list[ClipRecognition]:
        """What the model of a space heard in each channel. Raises as `hear`, of that model."""
        self._tried.add(space.model_row)
        if space.model_row not in self._heard:
            flow = Flow()  # one is of one recogniser, and cancelled when that fails
            self._flow.on_cancel(lambda _: flow.cancel())
            self._heard[space.model_row] = [
                recognise_clip(
                    space.recogniser,
                    waveform,
                    flow,
                    **self._frames,
                    scratch=self._library.settings.data_dir,
                    go_on=self._go_on,
                )
                for waveform in self.audio.waveforms
            ]
        return self._heard[space.model_row]

    def known(self, space: Space) -> list[ClipRecognition] | None:
        """The same, if it has heard it already."""
        return self._heard.get(space.model_row)

    def is_tried_with(self, beside: Space | None) -> bool:
        """Whether the model beside the active one has had its turn, if there is one: with two
        switches in the middle of a `hear` it has not."""
        return beside is None or beside.model_row in self._tried

    def _go_on(self) -> None:
        self._library.gate.check(self._flow)
