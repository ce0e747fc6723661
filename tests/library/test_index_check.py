"""Every kind of damage to an index is found and mended, and nothing else is called damage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import index.build
import index.flat
import index.graph_index
from app.errors import Unavailable
from app.library import index_check
from app.library.files import index_directory
from app.library.index_check import IndexCheck, Repair
from app.library.live_index import LiveIndex
from app.store.tables import ClipRow, EmbeddingRow
from index.graph_index import GraphIndex
from index.segments import Segments
from tests.library.test_live_index import DIMENSION, MODEL, PRIOR, RNG, Rig

CLIPS = 45


class DataDir(Rig):
    """A rig whose index lies where a service has it."""

    def open(self) -> None:
        directory = index_directory(self.directory, MODEL)
        self.index = LiveIndex(self.store, directory, MODEL, self.model_row, PRIOR)

    @property
    def segments(self) -> Segments:
        engine = self.index.current().index
        return engine.segments if isinstance(engine, GraphIndex) else engine._segments

    def found(self, go_on: Callable[[], None] = lambda: None) -> IndexCheck:
        return index_check.check(self.store, self.model_row, self.index, go_on)

    def row(self, clip_id: int) -> np.ndarray:
        """Of the clip in the index, to be written to."""
        for segment in self.segments:
            for place in np.flatnonzero(segment.live & (segment.ids == clip_id)):
                return segment.rows[place]
        raise AssertionError(clip_id)


def lower_thresholds(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "graph":
        monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 20)
    monkeypatch.setattr(index.graph_index, "OPEN", 2)
    for module in (index.graph_index, index.flat):
        monkeypatch.setattr(module, "rows_of_segment", lambda dimension: 16)
    monkeypatch.setattr(index_check, "PAGE", 7)
    monkeypatch.setattr(index_check, "BLOCK", 3)


@pytest.fixture(params=["flat", "graph"])
def data_dir(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DataDir]:
    """CLIPS clips, some added after the build, and some removed: 4 and 41."""
    lower_thresholds(monkeypatch, request.param)
    rig = DataDir(tmp_path)
    for _ in range(CLIPS - 10):
        rig.commit()
    rig.index.rebuild()
    for _ in range(10):
        rig.add()
    for clip_id in (4, 41):
        rig.delete(clip_id)
        rig.index.remove([clip_id])
    assert rig.index.kind == request.param
    yield rig
    rig.store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "PATIENCE", 0.0)


def forget(rig: DataDir) -> None:
    rig.index.current().index.remove(np.array([3, 30, 44]))


def invent(rig: DataDir) -> None:
    vectors = RNG.standard_normal((2, DIMENSION)).astype(np.float32)
    rig.index.current().index.add(np.array([41, 1000]), vectors)


def delete_behind_its_back(rig: DataDir) -> None:
    rig.delete(5)
    rig.delete(40)


def double(rig: DataDir) -> None:
    with pytest.MonkeyPatch.context() as careless:
        for module in (index.flat, index.graph_index):
            careless.setattr(module, "stored_among", lambda segments, ids: ids[:0])
        ids = np.array([7, 37])
        rig.index.current().index.add(ids, np.stack([rig.embeddings[7], rig.embeddings[37]]))


def zero(rig: DataDir) -> None:
    rig.row(2)[:] = 0
    rig.row(39)[:] = 0


def flip_a_bit(rig: DataDir) -> None:
    rig.row(17).view(np.uint32)[3] ^= 1


def exchange(rig: DataDir) -> None:
    rig.row(11)[:], rig.row(36)[:] = rig.row(36).copy(), rig.row(11).copy()


def spoil(rig: DataDir) -> None:
    rig.row(8)[1] = np.nan


@pytest.mark.parametrize(
    ("damage", "kind", "ids"),
    [
        (forget, "missing", [3, 30, 44]),
        (invent, "phantom", [41, 1000]),
        (delete_behind_its_back, "phantom", [5, 40]),
        (double, "duplicated", [7, 37]),
        (zero, "zeroed", [2, 39]),
        (flip_a_bit, "wrong", [17]),
        (exchange, "wrong", [11, 36]),
        (spoil, "wrong", [8]),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_damage_is_found_and_mended(
    data_dir: DataDir, damage: Callable[[DataDir], None], kind: index_check.Kind, ids: list[int]
) -> None:
    assert data_dir.found().clean
    before = data_dir.index.build
    damage(data_dir)
    found = data_dir.found()
    assert not found.clean
    assert {k: its.tolist() for k, its in found.faults.items() if len(its)} == {kind: ids}
    assert found.compared == len(data_dir.embeddings)
    done = index_check.repair(data_dir.index, found, lambda: None)
    counts = {"missing": done.added, "phantom": done.removed}
    assert counts.get(kind, done.renewed) == len(ids)
    assert done.added + done.removed + done.renewed == len(ids)
    assert not done.rebuilt
    assert data_dir.index.build == before
    assert data_dir.found().clean
    data_dir.check()
    data_dir.index.save()
    data_dir.open()
    assert data_dir.found().clean


@pytest.mark.usefixtures("impatient")
def test_all_kinds_at_once(data_dir: DataDir) -> None:
    for damage in (forget, invent, double, zero, exchange):
        damage(data_dir)
    found = data_dir.found()
    assert [len(ids) for ids in found.faults.values()] == [3, 2, 2, 2, 2, 0]
    done = index_check.repair(data_dir.index, found, lambda: None)
    assert done == Repair(added=3, removed=2, renewed=6, rebuilt=False)
    assert data_dir.found().clean
    data_dir.check()


@pytest.mark.usefixtures("impatient")
def test_an_embedding_that_is_not_finite_is_told_and_stays(data_dir: DataDir) -> None:
    with data_dir.store.write() as session:
        row = session.get_one(EmbeddingRow, (data_dir.model_row, 9))
        row.vector = np.full(DIMENSION, np.inf, "<f4").tobytes()
    found = data_dir.found()
    assert {k: its.tolist() for k, its in found.faults.items() if len(its)} == {
        "phantom": [9],
        "not_finite": [9],
    }
    index_check.repair(data_dir.index, found, lambda: None)
    found = data_dir.found()
    assert {k: its.tolist() for k, its in found.faults.items() if len(its)} == {"not_finite": [9]}
    assert not found.clean
    nothing = Repair(added=0, removed=0, renewed=0, rebuilt=False)
    assert index_check.repair(data_dir.index, found, lambda: None) == nothing


def test_a_clip_that_is_not_to_be_indexed_is_none_that_is_missing(data_dir: DataDir) -> None:
    hidden = data_dir.commit()
    with data_dir.store.write() as session:
        clip = session.get_one(ClipRow, hidden)
        clip.indexable = False
    assert data_dir.found().clean
    data_dir.index.renew(np.array([hidden]))
    assert hidden not in data_dir.index


@pytest.mark.usefixtures("impatient")
def test_an_embedding_equal_to_the_mean_has_no_direction(data_dir: DataDir) -> None:
    with data_dir.store.write() as session:
        row = session.get_one(EmbeddingRow, (data_dir.model_row, 12))
        row.vector = data_dir.index.mean.astype("<f4").tobytes()
    assert data_dir.found().faults["wrong"].tolist() == [12]
    data_dir.index.renew(np.array([12]))
    assert data_dir.found().clean
    data_dir.row(12)[0] = 1
    assert data_dir.found().faults["wrong"].tolist() == [12]


@pytest.mark.parametrize("data_dir", ["graph"], indirect=True)
@pytest.mark.usefixtures("impatient")
def test_a_graph_that_does_not_fit_its_rows_is_built_anew(data_dir: DataDir) -> None:
    graph = data_dir.index.current().index
    assert isinstance(graph, GraphIndex)
    graph._moment = replace(graph._moment, alive=None)
    found = data_dir.found()
    assert (found.misplaced, found.clean) == (1, False)
    assert index_check.repair(data_dir.index, found, lambda: None).rebuilt
    assert data_dir.found().clean
    data_dir.check()


@pytest.mark.usefixtures("impatient")
def test_where_much_is_wrong_the_index_is_built_anew(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_check, "FEW", 5)
    for segment in data_dir.segments:
        segment.rows[:] = -segment.rows
    found = data_dir.found()
    assert found.faults["wrong"].tolist() == sorted(data_dir.embeddings)
    assert index_check.repair(data_dir.index, found, lambda: None) == Repair(
        added=0, removed=0, renewed=len(data_dir.embeddings), rebuilt=True
    )
    assert data_dir.found().clean


@pytest.mark.usefixtures("impatient")
def test_a_build_that_takes_its_place_meanwhile_is_checked_instead(data_dir: DataDir) -> None:
    rebuilt = False

    def rebuild_once() -> None:
        nonlocal rebuilt
        if not rebuilt:
            rebuilt = True
            data_dir.index.rebuild()
            data_dir.row(20)[:] = 0

    assert data_dir.found(rebuild_once).faults["zeroed"].tolist() == [20]


@pytest.mark.parametrize("kind", ["missing", "phantom"])
def test_a_change_on_its_way_into_the_index_is_waited_for(data_dir: DataDir, kind: str) -> None:
    removals = data_dir.index.removals
    clip_id = data_dir.commit()
    if kind == "phantom":
        data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)
        data_dir.delete(clip_id)

    def arrive() -> None:
        time.sleep(0.5)
        if kind == "phantom":
            data_dir.index.remove([clip_id])
        else:
            data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)

    late = threading.Thread(target=arrive)
    late.start()
    found = data_dir.found()
    late.join()
    assert found.clean


def test_what_stays_away_is_missing(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "PATIENCE", 0.5)
    clip_id = data_dir.commit()
    assert data_dir.found().faults["missing"].tolist() == [clip_id]


def test_a_clip_whose_add_failed_is_missed_no_longer(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id, removals = data_dir.commit(), data_dir.index.removals
    with monkeypatch.context() as broken:
        broken.setattr(type(data_dir.index.current().index), "add", None)
        assert not data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)
    assert (data_dir.index.state, data_dir.index.pending) == ("degraded", 1)
    data_dir.index.renew(np.array([clip_id]))
    assert (data_dir.index.state, data_dir.index.pending) == ("ready", 0)
    data_dir.check()


@pytest.mark.usefixtures("impatient")
def test_the_last_look_is_at_a_moment(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, still = index_check.embeddings.stream, list[bool]()

    def seen(*arguments: Any) -> Any:
        still.append(data_dir.index._changing.locked())
        return stream(*arguments)

    zero(data_dir)
    monkeypatch.setattr(index_check.embeddings, "stream", seen)
    assert not data_dir.found().clean
    assert still == [True]


def test_nothing_is_added_while_it_is_still(data_dir: DataDir) -> None:
    with data_dir.index.still() as engine:
        before = len(engine)
        adding = threading.Thread(target=data_dir.add)
        adding.start()
        while len(data_dir.embeddings) == before:  # until it is committed
            time.sleep(0.01)
        adding.join(0.3)
        assert len(engine) == before
    adding.join()
    assert len(engine) == before + 1


def test_beside_adds_and_deletes_nothing_is_found(data_dir: DataDir) -> None:
    turn, stop, problems = threading.Condition(), threading.Event(), list[BaseException]()
    turns = 0

    def change() -> None:
        nonlocal turns
        try:
            while not stop.is_set():
                ids = [data_dir.add() for _ in range(3)]
                for clip_id in (ids[1], next(iter(data_dir.embeddings))):
                    data_dir.delete(clip_id)
                    data_dir.index.remove([clip_id])
                data_dir.index.maintain()
                with turn:
                    turns += 1
                    turn.notify()
        except BaseException as error:
            problems.append(error)
            with turn:
                turn.notify()

    def check() -> IndexCheck:
        pages = 0

        def wait_for_a_change() -> None:
            nonlocal pages
            pages += 1
            if pages in (2, 4, 6):  # of a check that begins again, the later ones pass
                with turn:
                    before = turns
                    turn.wait_for(lambda: turns > before or problems)

        found = data_dir.found(wait_for_a_change)
        assert pages >= 6
        return found

    thread = threading.Thread(target=change)
    thread.start()
    try:
        checks = [check() for _ in range(10)]
    finally:
        stop.set()
        thread.join()
    assert not problems
    assert all(found.clean for found in checks)
    assert turns >= 30
    assert data_dir.found().clean


def test_it_can_be_given_up(data_dir: DataDir) -> None:
    def give_up() -> None:
        raise Unavailable("The service is stopping.")

    with pytest.raises(Unavailable):
        data_dir.found(give_up)
