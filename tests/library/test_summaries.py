"""Summaries in memory tell what is stored, whatever happens beside."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from app.domain import ClipFields, ClipFilter
from app.library import summaries as library_summaries
from app.library.summaries import Summaries
from app.store import Store, clips, models
from app.store import summaries as stored_summaries
from app.store.engine import Session
from app.store.summaries import ClipSummary
from tests.library.filter_rig import MODEL, NOON
from tests.store.test_store import new_clip

FIELDS = ClipFields("customer", "call", "agent", NOON, ("b", "a"))


class Rig:
    """A store with clips, and how often it was read."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.reads: list[list[int]] = []
        with store.write() as session:
            self.model_row = models.activate(session, MODEL, np.ones(4, np.float32))
        self.summaries = Summaries(store)
        read = stored_summaries.of

        def counted(session: Session, clip_ids: list[int]) -> dict[int, ClipSummary]:
            self.reads.append(clip_ids)
            found = read(session, clip_ids)
            self.after_read()
            return found

        monkeypatch.setattr(library_summaries.summaries, "of", counted)

    def after_read(self) -> None:
        """Runs between a reading and whatever is done with it."""

    def add(self, fields: ClipFields = FIELDS) -> int:
        with self.store.write() as session:
            return clips.add(session, new_clip(self.model_row, fields=fields))

    def change(self, clip_id: int, fields: ClipFields) -> None:
        with self.store.write() as session:
            clips.update(session, clip_id, fields)
        self.summaries.forget([clip_id])

    def told(self, *clip_ids: int) -> dict[int, ClipSummary]:
        return self.summaries.of(clip_ids)


@pytest.fixture
def rig(store: Store, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(store, monkeypatch)


def test_a_summary_is_what_is_stored_and_read_once(rig: Rig) -> None:
    first, bare = rig.add(), rig.add(ClipFields())
    for _ in range(2):
        told = rig.told(first, bare, 10**6)
        assert told == {
            first: ClipSummary(
                first, "happy", told[first].confidence, *FIELDS_TOLD, 1.5, ("a", "b")
            ),
            bare: ClipSummary(bare, "happy", told[bare].confidence, *[None] * 4, 1.5, ()),
        }
        assert told[first].confidence == pytest.approx(0.6)
    assert rig.reads == [[first, bare, 10**6], [10**6]]


FIELDS_TOLD = (FIELDS.customer_id, FIELDS.call_id, FIELDS.agent_id, FIELDS.recorded_at)


def test_what_was_changed_or_deleted_is_told_anew(rig: Rig) -> None:
    clip_id = rig.add()
    assert rig.told(clip_id)[clip_id].agent_id == "agent"
    rig.change(clip_id, ClipFields(agent_id="other"))
    assert rig.told(clip_id)[clip_id].agent_id == "other"
    with rig.store.write() as session:
        clips.remove(session, [clip_id])
    rig.summaries.forget([clip_id])
    assert rig.told(clip_id) == {}


def test_a_change_during_a_reading_is_not_forgotten(rig: Rig) -> None:
    clip_id = rig.add()

    def change() -> None:
        rig.after_read = lambda: None  # type: ignore[method-assign]
        rig.change(clip_id, ClipFields(agent_id="other"))

    rig.after_read = change  # type: ignore[method-assign]
    assert rig.told(clip_id)[clip_id].agent_id == "agent"  # as it was when it was asked for
    assert rig.told(clip_id)[clip_id].agent_id == "other"


def test_the_oldest_make_room(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_summaries, "MOST", 8)
    monkeypatch.setattr(library_summaries, "AT_ONCE", 2)
    clip_ids = [rig.add() for _ in range(12)]
    for clip_id in clip_ids:
        rig.told(clip_id)
    rig.reads.clear()
    for clip_id in reversed(clip_ids):
        assert rig.told(clip_id)[clip_id].id == clip_id
    read_again = [clip_id for [clip_id] in rig.reads]
    assert read_again
    assert set(read_again) <= set(clip_ids[:6])
    assert len(rig.summaries._known) <= 8


@pytest.mark.parametrize(("more", "reads"), [(0, 1), (1, 2)])
def test_what_takes_much_memory_is_not_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, more: int, reads: int
) -> None:
    length = sum(map(len, ("customer", "call", "agent", "b", "a")))
    monkeypatch.setattr(library_summaries, "LONGEST", length)
    clip_id = rig.add(ClipFields("customer", "call", "agent", NOON, ("b", "a" + more * "a")))
    for _ in range(2):
        assert len(rig.told(clip_id)[clip_id].tags) == 2
    assert len(rig.reads) == reads


def test_what_is_kept_is_no_work_for_the_collector_of_garbage(rig: Rig) -> None:
    clip_ids = [rig.add() for _ in range(200)]
    rig.told(*clip_ids[:10])  # whatever else is kept of a first time
    gc.collect()
    before = len(gc.get_objects())
    assert len(rig.told(*clip_ids)) == 200
    for _ in range(2):  # the inner ones of nested tuples have to be left out first
        gc.collect()
    assert len(gc.get_objects()) < before + 50
    reads = len(rig.reads)
    assert rig.told(*clip_ids)[clip_ids[-1]].tags == ("a", "b")
    assert len(rig.reads) == reads


@pytest.mark.parametrize(
    "wanted",
    [
        ClipFilter(customer_id="customer"),
        ClipFilter(emotions=("sad",)),
        ClipFilter(call_id="call", agent_id="agent", file_sha256="0" * 64),
        ClipFilter(since=NOON, until=NOON, min_confidence=0.1, tags=("a",)),
    ],
)
def test_filtered_ones_are_looked_up_by_id(tmp_path: Path, wanted: ClipFilter) -> None:
    """Half of all clips may be of one customer, or sad. (Postgres counts them.)"""
    store = Store(f"sqlite:///{tmp_path / 'test.db'}")
    store.migrate()
    queries = []

    def listen(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        if "FROM clips" in statement:
            queries.append((statement, parameters))

    with store.read() as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", listen)
        stored_summaries.of(session, list(range(1, 51)), wanted)
        [(statement, parameters)] = queries
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    store.close()
    [how, *_] = [row[3] for row in plan if "clips USING" in row[3]]
    assert "rowid" in how
