"""Reindex beside a live index: progress, stops, ends of the process, failures."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import index.build
from app.errors import Conflict, NotFound, Unavailable
from app.library.rebuilding import Rebuild
from app.library.reindex import Reindexing, Run
from app.store import Store
from tests.library.test_live_index import DIMENSION, Rig, rig

__all__ = ["rig"]  # a fixture


def reindexing(rig: Rig) -> Reindexing:
    """As a process that starts has it."""
    return Reindexing(rig.store, {"rebuild": Rebuild(rig.store, lambda: rig.index)})


@contextlib.contextmanager
def held(rig: Rig, one: Reindexing, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, a thread works on it and waits after its first block; at the end it has returned."""
    arrived, go_on = threading.Event(), threading.Event()
    tell = Run.tell

    def wait(run: Run, done: int, total: int) -> None:
        tell(run, done, total)
        arrived.set()
        go_on.wait(30)

    monkeypatch.setattr(Run, "tell", wait)
    thread = threading.Thread(target=one.work, args=("rebuild",))
    thread.start()
    try:
        assert arrived.wait(30)
        yield
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize("engine", ["flat", "graph"])
def test_progress_reaches_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "graph":
        monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 30)
    monkeypatch.setattr("app.library.wanted_vectors.PAGE", 7)
    for _ in range(40):
        rig.commit()
    one = reindexing(rig)
    with pytest.raises(NotFound):
        one.latest()
    one.work("rebuild")  # nothing was asked for
    assert rig.index.build == 0
    begun = one.begin()
    assert (begun.state, begun.done, begun.total) == ("running", 0, 40)
    seen = []
    tell = Run.tell

    def note(run: Run, done: int, total: int) -> None:
        tell(run, done, total)
        seen.append(one.latest().done)

    monkeypatch.setattr(Run, "tell", note)
    one.work("rebuild")
    assert seen == sorted(seen)
    assert 0 < seen[0] < 7
    assert seen[-1] == 40
    done = one.latest()
    assert (done.id, done.state, done.done) == (begun.id, "done", 40)
    assert done.finished is not None
    assert done.summary is not None
    seconds = done.summary.pop("seconds")
    assert seconds >= 0
    assert done.summary == {"clips": 40, "left_out": 0, "build": 1, "engine": engine}
    rig.check()
    rig.open()  # it was saved: a crash does not bring the earlier build back
    assert rig.index.build == 1
    rig.check()


def test_one_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add()
    one = reindexing(rig)
    begun = one.begin()
    with pytest.raises(Conflict):
        one.begin()
    with held(rig, one, monkeypatch), pytest.raises(Conflict):
        one.begin()
    assert one.latest().id == begun.id
    assert one.latest().state == "done"
    assert one.begin().id > begun.id


@contextlib.contextmanager
def connection_lost_after_commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    write = Store.write

    @contextlib.contextmanager
    def drop_the_connection(self: Store) -> Iterator[Any]:
        with write(self) as session:
            yield session
        raise Unavailable("The database does not answer; try again later.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", drop_the_connection)
        yield


def test_begun_by_a_commit_that_raised(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add()
    one = reindexing(rig)
    with connection_lost_after_commits(monkeypatch):
        begun = one.begin()
    with pytest.raises(Conflict):
        one.begin()
    one.work("rebuild")
    assert (one.latest().id, one.latest().state) == (begun.id, "done")


def test_begun_where_nobody_knew_for_a_while(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(_: object) -> None:
        raise Unavailable("The database does not answer; try again later.")

    rig.add()
    one = reindexing(rig)
    with connection_lost_after_commits(monkeypatch), monkeypatch.context() as broken:
        broken.setattr("app.library.reindex.reindexes.latest", no_answer)
        with pytest.raises(Unavailable):
            one.begin()
    one.work("rebuild")
    assert one.latest().state == "done"
    assert one.begin().id == one.latest().id


def test_clips_come_and_go_meanwhile(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [rig.add() for _ in range(5)]
    one = reindexing(rig)
    one.begin()
    with held(rig, one, monkeypatch):
        rig.add()
        rig.delete(ids[0])
        rig.index.remove([ids[0]])
        rig.check()
        assert rig.index.state == "building"
    rig.check()
    assert rig.index.build == 1


def test_asked_for_while_the_index_renews_itself(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread does both, as in the library: what was asked for waits, and can be stopped."""
    for _ in range(40):
        rig.add()  # by which the mean of the empty library is outgrown
    one = reindexing(rig)
    arrived, go_on = threading.Event(), threading.Event()
    shrunk_mean = index.build.shrunk_mean

    def wait(*of: Any) -> Any:
        arrived.set()
        go_on.wait(30)
        return shrunk_mean(*of)

    monkeypatch.setattr(index.build, "shrunk_mean", wait)
    thread = threading.Thread(target=lambda: (rig.index.maintain(), one.work("rebuild")))
    thread.start()
    try:
        assert arrived.wait(30)
        one.begin()
        assert one.stop().state == "stopped"
        begun = one.begin()
        assert (begun.state, one.latest().done) == ("running", 0)
    finally:
        go_on.set()
        thread.join()
    assert (one.latest().id, one.latest().state) == (begun.id, "done")
    assert rig.index.build == 2
    rig.check()


def test_a_stop_leaves_the_index_as_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        rig.add()
    monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 10)
    one = reindexing(rig)
    with pytest.raises(Conflict):
        one.stop()
    one.begin()
    with held(rig, one, monkeypatch):
        assert one.stop().state == "stopping"
        with pytest.raises(Conflict):
            one.begin()
    stopped = one.latest()
    assert (stopped.state, stopped.done, stopped.total) == ("stopped", 6, 20)
    assert (rig.index.build, rig.index.state) == (0, "ready")
    rig.check()
    rig.index.save()
    assert not list((rig.directory / "index").glob("rows-*"))
    one.begin()
    one.work("rebuild")
    assert one.latest().state == "done"
    assert rig.index.build == 1


def test_a_stop_before_its_work_began(rig: Rig) -> None:
    rig.add()
    one = reindexing(rig)
    one.begin()
    assert one.stop().state == "stopped"
    one.work("rebuild")
    assert rig.index.build == 0


def test_the_next_process_begins_it_anew(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add()
    begun = reindexing(rig).begin()
    rig.add()
    one = reindexing(rig)
    left = one.latest()
    assert (left.id, left.state, left.total) == (begun.id, "running", 2)
    assert left.message is not None
    assert "began anew" in left.message
    one.work("rebuild")
    assert (one.latest().state, one.latest().message) == ("done", left.message)
    rig.check()


def test_an_end_of_the_service_is_no_end_of_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add()
    one = reindexing(rig)
    one.begin()
    rig.index.stop()
    with pytest.raises(Unavailable):
        one.work("rebuild")
    assert one.latest().state == "running"
    rig.open()
    reindexing(rig).work("rebuild")
    assert one.latest().state == "done"


def test_what_was_asked_to_stop_is_not_gone_on_with(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.add()
    one = reindexing(rig)
    one.begin()
    with held(rig, one, monkeypatch):
        one.stop()
        another = reindexing(rig)  # after kill -9 at this moment
        assert another.latest().state == "stopped"
        another.work("rebuild")
        assert rig.index.build == 0


@pytest.mark.parametrize(
    ("place", "error", "told"),
    [
        ("index.build.shrunk_mean", MemoryError(), ("MemoryError", "the earlier build")),
        (
            "index.snapshot.save",
            OSError(errno.ENOSPC, "No space left on device"),
            ("No space left", "the new build"),
        ),
    ],
)
def test_a_failure_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, told: tuple[str, str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    rig.add()
    one = reindexing(rig)
    one.begin()
    with monkeypatch.context() as broken:
        broken.setattr(place, fail)
        one.work("rebuild")
    failed = one.latest()
    assert (failed.state, failed.summary) == ("failed", None)
    assert failed.message is not None
    assert all(words in failed.message for words in told)
    rig.check()
    one.begin()
    one.work("rebuild")
    assert one.latest().state == "done"
    rig.check()
