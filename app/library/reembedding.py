"""Every clip heard again from its kept audio by another model, which then takes over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from app.errors import Conflict, ModelError, NoAudio, NotEnoughMemory, Unavailable
from app.library.hear_again import HearingAgain
from app.library.overlap import neighbour_overlap
from app.library.reindex import Failed, Run
from app.library.spaces import Space
from app.recogniser import Source, is_model
from app.recogniser.sources import local_or_cached
from app.store import Session, clips, models, recognitions, reindexes
from app.store.reindexes import Reindex

if TYPE_CHECKING:  # which has this
    from app.library.library import Library

COMPARED = ("changed_emotion", "overlap", "overlap_clips")
NO_MODEL = 0  # of which nothing is embedded
MEMORY_TRIES = 10  # half a minute apart
FEW_UNHEARD = 10  # clips; fewer never keep a model from becoming the active one
UNHEARD_SHARE = 0.01  # of the clips with kept audio; more would be lost to searches


class Reembedding:
    """See app.library.reindex.Work. What is done is in the database, and what is left is what is
    missing there: so it is gone on with from where it was, whatever ended it."""

    interrupted = "It was interrupted by an end of the service, and went on."
    stopped = "It was stopped; what was embedded stays, and the same request goes on with it."

    def __init__(self, library: Library) -> None:
        self._library = library
        self._store = library.store

    def left(self, model: str | None, reindex: Reindex | None) -> int:
        if reindex is None:
            self._refuse_active(model)
        digest = ((reindex and reindex.summary) or {}).get("digest")
        with self._store.read() as session:
            row = models.row_of(session, digest) if digest else NO_MODEL
            kept = recognitions.count_missing(session, row)
            if reindex is None:
                self._check(session, model, kept)
        return kept

    def _refuse_active(self, model: str | None) -> None:
        active = self._library.spaces.active.model
        with contextlib.suppress(ModelError):  # which is told of when it is opened
            if is_model(self._source(model), active):
                raise Conflict(f"{active.id} is the active model already.")

    def _check(self, session: Session, model: str | None, kept: int) -> None:
        beside = models.beside(session)
        if beside is not None and beside.id != model:
            raise Conflict(f"{beside.id} is beside the active model; drop it first.")
        if not kept and clips.any_stored(session):
            raise Conflict("No stored clip has kept audio (EMOSEEK_KEEP_AUDIO) to hear again.")

    def do(self, run: Run) -> dict[str, Any]:
        with HearingAgain(self._library, run) as hearing:
            # Else the models had changed places before the process ended.
            if run.notes.get("digest") != self._library.spaces.active.model.digest:
                self._prepare(run, hearing)
                self._library.roles.switch()
            run.must_end = True
            space = self._library.spaces.active
            try:
                hearing.catch_up(space)  # on what it failed to hear as it was posted
            except NotEnoughMemory:  # what it lacks then is told, as what is damaged
                if not _is_hopeless(run):
                    raise
        space.index.audit()
        with self._store.read() as session:
            return {
                "model": space.model.id,
                "clips": len(space.index),
                "reembedded": run.done,
                "without_audio": recognitions.count_without_audio(session, space.model_row),
                "damaged": recognitions.count_missing(session, space.model_row),
                **{name: run.notes[name] for name in COMPARED},
            }

    def _prepare(self, run: Run, hearing: HearingAgain) -> None:
        """All of it but the switch. What is to be told of it goes into the notes, which are in
        the store when it returns. If it fails or is stopped, a model that it opened is closed."""
        if "opened" not in run.notes:
            with self._store.read() as session:
                none = models.beside(session) is None
            self._note(run, opened=none)  # before it is: whoever goes on with this must know
        try:
            run.tell(run.done, run.total)
            space = self._opened(run)
            self._note(run, digest=space.model.digest)
            with self._store.read() as session:
                left = recognitions.count_missing(session, space.model_row)
            run.tell(run.done, run.done + left)
            with self._library.roles.filling(space):
                hearing.catch_up(space)
                self._refuse_unheard(space)
                space.index.rebuild(lambda _: run.tell(run.done, run.total))
            hearing.catch_up(space)
            space.index.audit()
            if len(self._library.index) and not len(space.index):
                raise NoAudio("None of the kept audio could be heard by this model.")
            self._compare(run, space)
            run.tell(run.done, run.total)
        except NotEnoughMemory as exc:
            if not _is_hopeless(run):
                raise
            self._close(run)
            raise Failed(
                "There was not enough memory to hear clips with this model beside the active one, "
                f"{MEMORY_TRIES} times in a row. What was heard stays, and the same request goes "
                "on with it."
            ) from exc
        except Unavailable:  # it is gone on with
            raise
        except BaseException:
            self._close(run)
            raise

    def _close(self, run: Run) -> None:
        if run.notes["opened"]:
            self._library.roles.close_beside()

    def _refuse_unheard(self, space: Space) -> None:
        with self._store.read() as session:
            unheard = recognitions.count_missing(session, space.model_row)
            kept = recognitions.count_missing(session, NO_MODEL)
        if unheard >= FEW_UNHEARD and unheard > UNHEARD_SHARE * kept:
            raise Failed(
                f"{unheard} of {kept} clips with kept audio could not be heard by this model; the "
                f"service's log names them. {self._library.spaces.active.model.id} is still the "
                "active model. Mend their audio or delete them, and ask again: what was heard "
                "stays."
            )

    def _opened(self, run: Run) -> Space:
        return self._library.roles.open_beside(self._source(run.reindex.model))

    def _source(self, model: str | None) -> Source:
        assert model is not None
        return local_or_cached(model, self._library.settings.hub, None)

    def _compare(self, run: Run, space: Space) -> None:
        overlap, asked = neighbour_overlap(self._store, self._library.spaces.active, space)
        with self._store.read() as session:
            changed = recognitions.changed_emotions(session, space.model_row)
        self._note(
            run,
            changed_emotion=changed,
            overlap=None if overlap is None else round(overlap, 4),
            overlap_clips=asked,
        )

    def _note(self, run: Run, **more: object) -> None:
        run.notes |= more
        with self._store.write() as session:
            reindexes.note(session, run.reindex.id, dict(run.notes))


def _is_hopeless(run: Run) -> bool:
    """Count a lack of memory: whether it is the last one of too many without a clip in between."""
    run.short_of_memory = 1 if run.done > run.done_then else run.short_of_memory + 1
    run.done_then = run.done
    return run.short_of_memory >= MEMORY_TRIES
