"""Reindexes and how they ended, on both databases."""

from __future__ import annotations

import datetime as dt

from app.store import Store, reindexes
from app.store.reindexes import Outcome
from tests.store.test_store import NOW

LATER = NOW + dt.timedelta(minutes=5)


def test_the_latest_is_told_as_it_was_left(store: Store) -> None:
    with store.write() as session:
        assert reindexes.latest(session) is None
        first = reindexes.begin(session, "rebuild", None, 70, NOW)
    assert (first.state, first.done, first.total, first.is_under_way) == ("running", 0, 70, True)
    with store.write() as session:
        reindexes.ask_to_stop(session, first.id)
    with store.write() as session:
        stopping = reindexes.latest(session)
        assert stopping is not None
        assert (stopping.state, stopping.is_under_way) == ("stopping", True)
        reindexes.finish(session, first.id, Outcome("stopped", 30, "why"), 70, LATER)
    with store.write() as session:
        second = reindexes.begin(session, "reembed", "some/model", 80, LATER)
        assert second.id > first.id
    with store.write() as session:
        reindexes.advance(session, second.id, 7, 85)
        reindexes.note(session, second.id, {"so": "far"})
    with store.write() as session:
        anew = reindexes.take_up(session, second.id, 7, 90, "once more")
        assert (anew.kind, anew.model, anew.summary) == ("reembed", "some/model", {"so": "far"})
        assert (anew.done, anew.total, anew.started) == (7, 90, LATER)
    with store.write() as session:
        reindexes.finish(session, second.id, Outcome("done", 90, None, {"clips": 90}), 90, LATER)
    with store.read() as session:
        done = reindexes.latest(session)
    assert done is not None
    assert (done.id, done.state, done.done, done.total) == (second.id, "done", 90, 90)
    assert (done.started, done.finished, done.is_under_way) == (LATER, LATER, False)
    assert (done.message, done.summary) == ("once more", {"clips": 90})
