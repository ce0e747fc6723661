"""Reindexes: changes of the index that somebody asked for, which outlive the process."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from app.errors import Conflict, EmoseekError, NotFound, Unavailable, UnderWay
from app.store import Store, reindexes
from app.store.reindexes import Kind, Outcome, Reindex

log = logging.getLogger(__name__)


class Failed(EmoseekError):
    """`detail` says why, and what searches use now."""


class Stopped(Exception):
    """Somebody asked for it."""


class Run:
    """A reindex under way: how far it is, and whether it shall stop."""

    def __init__(self, reindex: Reindex) -> None:
        self.reindex = reindex
        self.done = reindex.done
        self.total = reindex.total
        self.notes = dict(reindex.summary or {})  # of whoever worked on it, in the store too
        self.stop = threading.Event()
        self.short_of_memory = 0  # times in a row, when `done_then` were done
        self.done_then = -1
        self.must_end = False  # too late to stop it

    def tell(self, done: int, total: int) -> None:
        """It is so far now. Raises Stopped: it shall come no farther."""
        if self.stop.is_set() and not self.must_end:
            raise Stopped
        self.done, self.total = min(done, total), total


class Work(Protocol):
    """What is done in one kind of reindex."""

    @property
    def interrupted(self) -> str:
        """Told of one that a process left and the next one goes on with."""

    @property
    def stopped(self) -> str | None:
        """Told of one that was stopped; None: it cannot be."""

    def left(self, model: str | None, reindex: Reindex | None) -> int:
        """Clips that are to be gone over, by a new one or by one that goes on.

        Raises:
            Conflict: it cannot be begun.
        """

    def do(self, run: Run) -> dict[str, Any]:
        """All of it; returns the summary.

        Raises:
            Stopped: `run` said so.
            Unavailable: the service stops or the database does not answer; call it again.
        """


class Reindexing:
    """One at a time: `begin` and `stop` note what is wanted, `work` does it in its caller's
    thread, beside searches, adds and deletions. One that an earlier process left is gone on with.
    """

    def __init__(self, store: Store, works: Mapping[Kind, Work]) -> None:
        self._store = store
        self._works = works
        self._changing = threading.Lock()  # what is noted in the store, and what follows
        self._working = False
        self._unsure = False  # whether one was begun that is not `_run`
        self._run = self._left_behind()

    def latest(self) -> Reindex:
        """The one that is under way, or else the last one. Raises NotFound: none was begun yet."""
        run = self._run
        with self._store.read() as session:
            found = reindexes.latest(session)
        if found is None:
            raise NotFound("No reindex was begun yet.")
        if run is None or not found.is_under_way:
            return found
        return dataclasses.replace(found, done=run.done, total=run.total, summary=None)

    def begin(self, kind: Kind = "rebuild", model: str | None = None) -> Reindex:
        """Have it done.

        Raises:
            UnderWay: it is, having been asked for before.
            Conflict: another one is under way, or it cannot be done.
        """
        with self._changing:
            self._look()
            if (run := self._run) and (run.reindex.kind, run.reindex.model) == (kind, model):
                raise UnderWay(f"Reindex {run.reindex.id} is under way already.")
            self._check_idle()
            left = self._works[kind].left(model, None)
            self._unsure = True
            try:
                with self._store.write() as session:
                    begun = reindexes.begin(session, kind, model, left, _now())
            except Unavailable:  # it may have been begun nonetheless
                self._look()
                if self._run is None:
                    raise
            else:
                self._unsure, self._run = False, Run(begun)
            return self._run.reindex

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """None begins meanwhile. Raises Conflict: one is under way."""
        with self._changing:
            self._check_idle()
            yield

    def _look(self) -> None:
        """Take up what was begun by a commit that raised. Nobody else begins any."""
        if self._unsure:
            with self._store.read() as session:
                found = reindexes.latest(session)
            self._run = Run(found) if found is not None and found.is_under_way else None
            self._unsure = False

    def _check_idle(self) -> None:
        self._look()
        if (run := self._run) is not None:
            kind, id = run.reindex.kind, run.reindex.id
            raise Conflict(f"Another reindex, {id} (a {kind}), is under way; wait, or stop it.")

    def stop(self) -> Reindex:
        """Have the one that is under way end soon, with searches as they were.

        Raises:
            Conflict: none is, or it cannot be stopped.
        """
        with self._changing:
            self._look()
            run = self._run
            if run is None:
                raise Conflict("No reindex is under way.")
            told = self._works[run.reindex.kind].stopped
            if told is None or run.must_end:
                raise Conflict("This cannot be stopped any more; it ends soon by itself.")
            with self._store.write() as session:
                reindexes.ask_to_stop(session, run.reindex.id)
            run.stop.set()
            if not self._working and not run.notes:  # nor anything to clear away
                self._finish(run, Outcome("stopped", run.done, told))
        return self.latest()

    def work(self, *kinds: Kind) -> None:
        """Do what was begun, if it is of these kinds.

        Raises:
            Unavailable: the service stops or the database does not answer; call it again.
        """
        with self._changing:
            self._look()
            run = self._run
            if run is None or run.reindex.kind not in kinds:
                return
            self._working = True
        try:
            outcome = self._outcome(run, self._works[run.reindex.kind])
            with self._changing:
                self._finish(run, outcome)
        finally:
            self._working = False

    def _outcome(self, run: Run, work: Work) -> Outcome:
        started = time.monotonic()
        try:
            summary = work.do(run)
        except Stopped:
            return Outcome("stopped", run.done, work.stopped)
        except Unavailable:
            raise
        except Exception as exc:
            log.exception("Reindex %d failed.", run.reindex.id)
            return Outcome("failed", run.done, told(exc))
        seconds = round(time.monotonic() - started, 1)
        return Outcome("done", run.total, None, summary | {"seconds": seconds})

    def _finish(self, run: Run, outcome: Outcome) -> None:
        with self._store.write() as session:
            reindexes.finish(session, run.reindex.id, outcome, run.total, _now())
        self._run = None

    def _left_behind(self) -> Run | None:
        """The one that an earlier process did not finish, if it shall be."""
        with self._store.write() as session:
            found = reindexes.latest(session)
            if found is None or not found.is_under_way:
                return None
            work = self._works[found.kind]
            if found.state == "stopping" and not found.summary:  # nor anything to clear away
                outcome = Outcome("stopped", found.done, work.stopped)
                reindexes.finish(session, found.id, outcome, found.total, _now())
                return None
        done = 0 if found.kind == "rebuild" else found.done
        left = work.left(found.model, found)
        with self._store.write() as session:
            run = Run(reindexes.take_up(session, found.id, done, done + left, work.interrupted))
        if found.state == "stopping":
            run.stop.set()
        return run


def told(exc: Exception) -> str:
    """Why it failed, for whoever asked for it."""
    if isinstance(exc, EmoseekError):
        return exc.detail
    reason = exc.strerror if isinstance(exc, OSError) else None
    return f"{reason or type(exc).__name__}; the service's log has more."


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
