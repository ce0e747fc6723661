"""Every kind of damage to an index is found and mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import index.flat
import index.graph_index
from app.library import index_check
from app.library.index_check import Repair
from app.store.tables import ClipRow, EmbeddingRow
from index.graph_index import GraphIndex
from tests.library.index_check_rig import DataDir
from tests.library.test_live_index import DIMENSION, RNG


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
