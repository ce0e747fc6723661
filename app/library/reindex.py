"""Reindex: a new build of the index that somebody asked for, which outlives the process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import threading
import time

from app.errors import Conflict, NotFound, Unavailable
from app.library.live_index import LiveIndex
from app.store import Store, embeddings, reindexes
from app.store.reindexes import Outcome, Reindex
from index.build import passes

INTERRUPTED = "It was interrupted by an end of the service, and began anew."
STOPPED = "It was stopped; searches use the earlier build."

log = logging.getLogger(__name__)


class Reindexing:
    """One at a time: `begin` and `stop` note what is wanted, `work` does it in its caller's
    thread, beside searches, adds and deletions.

    One that was under way when an earlier process ended is begun anew.

    Args:
        model_row: the store's id of the active model.
    """

    def __init__(self, store: Store, index: LiveIndex, model_row: int, dimension: int) -> None:
        self._store = store
        self._index = index
        self._model_row = model_row
        self._dimension = dimension
        self._changing = threading.Lock()  # what is noted in the store, and what follows
        self._stop = threading.Event()
        self._rows = 0  # that the passes of the build under way have got over
        self._working = False
        self._under_way = self._left_behind()

    def latest(self) -> Reindex:
        """The one that is under way, or else the last one. Raises NotFound: none was begun yet."""
        with self._store.read() as session:
            found = reindexes.latest(session)
        if found is None:
            raise NotFound("No reindex was begun yet.")
        return dataclasses.replace(found, done=self._done(found)) if found.is_under_way else found

    def begin(self) -> Reindex:
        """Have the index built anew from the stored embeddings.

        Raises:
            Conflict: one is under way.
        """
        with self._changing:
            if self._under_way is not None:
                raise Conflict(f"Reindex {self._under_way.id} is under way; wait, or stop it.")
            with self._store.write() as session:
                total = embeddings.count_indexable(session, self._model_row)
                begun = reindexes.begin(session, "rebuild", total, _now())
            self._rows = 0
            self._stop.clear()
            self._under_way = begun
        return begun

    def stop(self) -> Reindex:
        """Have the one that is under way end soon, with the index as it was.

        Raises:
            Conflict: none is.
        """
        with self._changing:
            if self._under_way is None:
                raise Conflict("No reindex is under way.")
            with self._store.write() as session:
                reindexes.ask_to_stop(session, self._under_way.id)
            self._stop.set()
            if not self._working:
                now = self._under_way
                self._finish(now, Outcome("stopped", self._done(now), STOPPED))
        return self.latest()

    def work(self) -> None:
        """Do what was begun, if anything was.

        Raises:
            Unavailable: the service stops or the database does not answer; call it again.
        """
        with self._changing:
            reindex = self._under_way
            if reindex is None:
                return
            self._rows = 0
            self._working = True
        try:
            outcome = self._rebuilt(reindex)
            with self._changing:
                self._finish(reindex, outcome)
        finally:
            self._working = False

    def _rebuilt(self, reindex: Reindex) -> Outcome:
        started, before = time.monotonic(), self._index.build
        try:
            self._index.rebuild(self._got_over)
            self._index.save()  # or else a crash would bring the earlier build back
        except _Stopped:
            return Outcome("stopped", self._done(reindex), STOPPED)
        except Unavailable:
            raise
        except Exception as exc:
            log.exception("Reindex %d failed.", reindex.id)
            reason = exc.strerror if isinstance(exc, OSError) else None
            message = f"{reason or type(exc).__name__}; the service's log has more. Searches use "
            message += "the earlier build." if self._index.build == before else "the new build."
            return Outcome("failed", self._done(reindex), message)
        summary = {
            "clips": len(self._index),
            "left_out": self._index.left_out,
            "build": self._index.build,
            "engine": self._index.kind,
            "seconds": round(time.monotonic() - started, 1),
        }
        return Outcome("done", reindex.total, None, summary)

    def _got_over(self, rows: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._rows += rows

    def _done(self, reindex: Reindex) -> int:
        """Clips that what was done would be the whole work on. Some may have come meanwhile."""
        return min(reindex.total, self._rows // passes(reindex.total, self._dimension))

    def _finish(self, reindex: Reindex, outcome: Outcome) -> None:
        with self._store.write() as session:
            reindexes.finish(session, reindex.id, outcome, _now())
        self._under_way = None

    def _left_behind(self) -> Reindex | None:
        """The one that an earlier process did not finish, if it shall be."""
        with self._store.write() as session:
            found = reindexes.latest(session)
            if found is None or not found.is_under_way:
                return None
            if found.state == "stopping":
                reindexes.finish(session, found.id, Outcome("stopped", 0, STOPPED), _now())
                return None
            total = embeddings.count_indexable(session, self._model_row)
            return reindexes.begin_anew(session, found.id, total, INTERRUPTED)


class _Stopped(Exception):
    """Somebody asked for it."""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
