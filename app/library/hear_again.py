"""Stored clips heard again from their kept audio, by another model."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from app.audio import decode
from app.domain import Recognition
from app.errors import NoAudio, TooLarge, Unavailable, UnsupportedAudio
from app.library.nice import be_nice
from app.library.reindex import Run
from app.library.spaces import Space
from app.recogniser import Flow, recognise_clip
from app.store import recognitions, reindexes

if TYPE_CHECKING:  # which has this
    from app.library.library import Library

BATCH = 16  # clips heard together while no request is; else one at a time
LONGEST = 86_400.0  # seconds; whatever was kept was accepted once

log = logging.getLogger(__name__)


class HearingAgain:
    """For one run of a re-embedding. A clip whose audio cannot be heard is told of once and not
    tried again."""

    def __init__(self, library: Library, run: Run) -> None:
        self._library = library
        self._run = run
        self._unheard: set[int] = set()
        self._pool = ThreadPoolExecutor(BATCH, "hear-again", initializer=be_nice)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def catch_up(self, space: Space) -> None:
        """Have the model of `space` hear all clips that it has not heard and whose audio is kept.
        Its index is not told, but by its next build or audit.

        Raises:
            Stopped: the run said so.
            Unavailable: the service stops, or the database does not answer.
        """
        after = 0
        while (block := self._next(space, after))[0]:
            after = block[0][-1]
            kept = [one for one in zip(*block, strict=True) if one[0] not in self._unheard]
            found = self._pool.map(lambda one: self._hear(space, *one), kept)
            heard = {
                clip_id: recognition
                for (clip_id, _), recognition in zip(kept, found, strict=True)
                if recognition is not None
            }
            self._unheard.update(clip_id for clip_id, _ in kept if clip_id not in heard)
            self._store(space, heard, len(kept))

    def _next(self, space: Space, after: int) -> tuple[list[int], list[str]]:
        gate = self._library.gate
        limit = 1 if gate.inside + gate.waiting else BATCH
        with self._library.store.read() as session:
            return recognitions.missing(session, space.model_row, after, limit)

    def _hear(self, space: Space, clip_id: int, audio_key: str) -> Recognition | None:
        flow = Flow()

        def go_on() -> None:
            self._library.gate.check(flow)
            self._run.tell(self._run.done, self._run.total)

        scratch = self._library.settings.data_dir
        try:
            with self._library.kept_audio.path(audio_key).open("rb") as file:
                audio = decode(file, max_seconds=LONGEST, scratch=scratch, go_on=go_on)
            if audio.warnings:
                raise NoAudio(audio.warnings[0])
            [waveform] = audio.waveforms
            return recognise_clip(
                space.recogniser, waveform, flow, scratch=scratch, go_on=go_on
            ).recognition
        except Unavailable:
            raise
        except (NoAudio, UnsupportedAudio, TooLarge, FileNotFoundError) as exc:
            # Of this clip. Whatever else it is would be the same with the next one: it ends all.
            if not self._library.kept_audio.directory.is_dir():
                raise
            log.warning("Clip %d cannot be heard from its kept audio: %s", clip_id, exc)
            return None

    def _store(self, space: Space, heard: dict[int, Recognition], tried: int) -> None:
        """What was heard, and how far it came. Clips that were deleted meanwhile are left out."""
        run, library = self._run, self._library
        with library.roles.commits.shared():
            try:
                with library.store.write() as session:
                    stored = recognitions.add_many(
                        session, space.model_row, list(heard), list(heard.values())
                    )
                    done = run.done + len(stored)
                    total = max(done, run.total - (tried - len(stored)))
                    reindexes.advance(session, run.reindex.id, done, total)
            finally:  # also a commit that failed may have happened
                if space is library.spaces.active:
                    library.summaries.forget(heard)
                    library.filters.refresh(list(heard))
        run.tell(done, total)
