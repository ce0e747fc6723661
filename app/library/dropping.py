"""Giving up the model beside the active one, with all that it made."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from app.errors import Conflict
from app.library.files import index_directory
from app.library.reindex import Run
from app.recogniser import is_pinned
from app.store import models, recognitions, reindexes
from app.store.reindexes import Reindex

if TYPE_CHECKING:  # which has this
    from app.library.library import Library

BLOCK = 500  # clips in a transaction


class Drop:
    """See app.library.reindex.Work."""

    interrupted = "It was interrupted by an end of the service, and went on."
    stopped = None

    def __init__(self, library: Library) -> None:
        self._library = library
        self._store = library.store

    def left(self, model: str | None, reindex: Reindex | None) -> int:
        if reindex is not None:
            return max(0, reindex.total - reindex.done)
        with self._store.read() as session:
            beside = models.beside(session)
            if beside is None:
                raise Conflict("No other model is beside the active one.")
            if is_pinned(self._library.settings, beside):
                raise Conflict(
                    f"EMOSEEK_MODEL of this service names {beside.id}: its next start would refuse "
                    "this database. Set it to the active model, or to auto, and restart first."
                )
            return recognitions.count_droppable(
                session, models.row_of(session, beside.digest), self._library.model_row
            )

    def do(self, run: Run) -> dict[str, Any]:
        library = self._library
        with self._store.write() as session:
            beside = models.beside(session)
            if "digest" not in run.notes:
                assert beside is not None
                run.notes["digest"] = beside.digest
                # Before it is closed: whoever goes on with this must know.
                reindexes.note(session, run.reindex.id, run.notes)
        if beside is not None:
            library.roles.close_beside()
        with self._store.read() as session:
            row = models.row_of(session, run.notes["digest"])
        while self._drop_block(run, row):
            pass
        if beside is not None:
            directory = index_directory(library.settings.data_dir, beside)
            shutil.rmtree(directory, ignore_errors=True)
        return {"dropped": run.done}

    def _drop_block(self, run: Run, row: int) -> int:
        with self._store.write() as session:
            removed = recognitions.drop_block(session, row, self._library.model_row, BLOCK)
            done = run.done + removed
            reindexes.advance(session, run.reindex.id, done, max(done, run.total))
        run.tell(done, max(done, run.total))
        return removed
