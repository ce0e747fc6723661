"""The index of a library: kept equal to the store, whatever happens in between."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import index.build
import index.gpu_forms
import index.graph_index
from app.domain import ModelInfo, Recognition
from app.errors import Unavailable
from app.library.live_index import LiveIndex
from app.store import Store, clips, ids, imports, models
from app.store.tables import EmbeddingRow
from index.flat import FlatIndex
from index.gpu_replica import GpuReplica
from index.graph_index import GraphIndex
from index.mean import shrunk_mean
from tests.index.cpu_device import CpuDevice
from tests.store.test_store import new_clip

DIMENSION = 8
MODEL = ModelInfo("test/model", "d" * 64, DIMENSION, bundled=False)
PRIOR = np.linspace(-1, 1, DIMENSION).astype(np.float32)
RNG = np.random.default_rng(5)


class Rig:
    """A store with an index over it, reopened as a restarted service would."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(f"sqlite:///{directory / 'test.db'}")
        self.store.migrate()
        with self.store.write() as session:
            self.model_row = models.activate(session, MODEL, PRIOR)
        self.embeddings: dict[int, np.ndarray] = {}
        self.open()

    def open(self) -> None:
        self.index = LiveIndex(self.store, self.directory / "index", MODEL, self.model_row, PRIOR)

    def commit_many(self, embeddings: np.ndarray) -> np.ndarray:
        """Store clips of these (n, D) without adding them to the index; returns their ids (n,)."""
        now, clip = dt.datetime.now(dt.UTC), imports.ImportedClip()
        with self.store.write() as session:
            drawn = ids.draw(session, len(embeddings))
            imports.add(session, self.model_row, drawn, [clip] * len(drawn), embeddings, now)
        self.embeddings.update(zip(drawn.tolist(), embeddings, strict=True))
        return drawn

    def commit(self) -> int:
        """Store a clip without adding it to the index."""
        embedding = RNG.standard_normal(DIMENSION).astype(np.float32)
        scores = np.full(9, 1 / 9, np.float32)
        new = new_clip(self.model_row, recognition=Recognition(scores, embedding))
        with self.store.write() as session:
            clip_id = clips.add(session, new)
        self.embeddings[clip_id] = embedding
        return clip_id

    def add(self) -> int:
        removals = self.index.removals
        clip_id = self.commit()
        assert self.index.add(clip_id, self.embeddings[clip_id], removals=removals)
        return clip_id

    def delete(self, clip_id: int) -> None:
        """Delete a clip from the store only."""
        with self.store.write() as session:
            clips.remove(session, [clip_id])
        del self.embeddings[clip_id]

    def check(self) -> None:
        """The index finds the stored clips and no other."""
        [found] = self.index.current().search(np.ones((1, DIMENSION), np.float32), 1000)
        assert sorted(found.ids.tolist()) == sorted(self.embeddings)
        assert len(self.index) == len(self.embeddings)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


def test_it_heals_at_start(rig: Rig) -> None:
    ids = [rig.add() for _ in range(5)]
    rig.index.save()
    rig.commit()
    rig.delete(ids[2])
    rig.open()
    rig.check()


def test_it_needs_no_snapshot(rig: Rig) -> None:
    for _ in range(5):
        rig.commit()
    rig.open()
    rig.check()


def test_the_mean_follows_a_growing_library(rig: Rig) -> None:
    for _ in range(40):
        rig.add()
        rig.index.maintain()
    stored = np.stack(list(rig.embeddings.values()))
    built_on = rig.index._built_on
    assert 40 / 1.5 <= built_on <= 40
    np.testing.assert_allclose(
        rig.index.mean, shrunk_mean(stored[:built_on].mean(axis=0), built_on, PRIOR), atol=1e-5
    )
    rig.check()
    builds = rig.index.build
    rig.index.maintain()
    assert rig.index.build == builds


def test_a_snapshot_remembers_how_old_its_mean_is(rig: Rig) -> None:
    for _ in range(40):
        rig.add()
    rig.index.save()  # never maintained: the mean is still that of the empty library
    rig.open()
    rig.check()
    np.testing.assert_array_equal(rig.index.mean, PRIOR)
    rig.index.maintain()
    stored = np.stack(list(rig.embeddings.values()))
    np.testing.assert_allclose(
        rig.index.mean, shrunk_mean(stored.mean(axis=0), 40, PRIOR), atol=1e-5
    )


def test_a_failed_add_is_told_and_repaired(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(FlatIndex, "add", fail)
        clip_id = rig.commit()
        assert not rig.index.add(clip_id, rig.embeddings[clip_id], removals=rig.index.removals)
    assert (rig.index.state, rig.index.pending) == ("degraded", 1)
    rig.index.maintain()
    assert (rig.index.state, rig.index.pending) == ("ready", 0)
    rig.check()


def test_an_embedding_that_is_not_finite_stops_nothing(rig: Rig) -> None:
    rig.add()
    bad = rig.commit()
    with rig.store.write() as session:
        row = session.get_one(EmbeddingRow, (rig.model_row, bad))
        row.vector = np.full(DIMENSION, np.nan, "<f4").tobytes()
    del rig.embeddings[bad]
    rig.index.rebuild()
    rig.check()
    rig.open()
    rig.check()
    rig.index.audit()
    rig.check()
    assert rig.index._wanted.unfit == {bad}
    with rig.store.write() as session:
        clips.remove(session, [bad])
    rig.index.audit()
    assert rig.index._wanted.unfit == set()


def test_an_audit_finds_what_the_index_lacks(rig: Rig) -> None:
    gone = rig.add()
    rig.add()
    rig.commit()
    rig.commit()
    rig.delete(gone)
    rig.index.audit()
    rig.check()


def test_an_audit_compares_ids_and_not_their_number(rig: Rig) -> None:
    gone = rig.add()
    rig.add()
    rig.commit()
    rig.delete(gone)
    assert len(rig.index) == len(rig.embeddings)
    rig.index.audit()
    rig.check()


def test_a_clip_deleted_before_its_add_is_not_added(rig: Rig) -> None:
    removals = rig.index.removals
    clip_id = rig.commit()
    embedding = rig.embeddings[clip_id]
    rig.delete(clip_id)
    rig.index.remove([clip_id])
    assert rig.index.add(clip_id, embedding, removals=removals)
    rig.check()


def test_an_unchanged_index_is_not_saved_again(rig: Rig) -> None:
    rig.add()
    rig.index.save()
    before = {path.name for path in (rig.directory / "index").iterdir()}
    rig.index.save()
    assert {path.name for path in (rig.directory / "index").iterdir()} == before
    rig.add()
    rig.index.save()
    assert {path.name for path in (rig.directory / "index").iterdir()} != before


def test_rebuilds_lose_nothing_while_clips_come_and_go(rig: Rig) -> None:
    stop = threading.Event()

    def rebuild() -> None:
        while not stop.is_set():
            rig.index.rebuild()

    thread = threading.Thread(target=rebuild)
    thread.start()
    try:
        for number in range(150):
            clip_id = rig.add()
            if number % 3 == 0:
                rig.delete(clip_id)
                rig.index.remove([clip_id])
    finally:
        stop.set()
        thread.join()
    assert rig.index.build > 3
    rig.check()


def test_a_library_that_grows_large_gets_a_graph_and_keeps_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 30)
    monkeypatch.setattr(index.graph_index, "OPEN", 2)
    monkeypatch.setattr(index.graph_index, "TAIL", 5)
    ids = [rig.add() for _ in range(40)]
    assert isinstance(rig.index.current().index, FlatIndex)
    rig.index.maintain()
    graph = rig.index.current().index
    assert isinstance(graph, GraphIndex)
    covered = graph.graph.covered
    rig.check()
    ids += [rig.add() for _ in range(9)]
    rig.index.maintain()
    assert graph.graph.covered > covered
    rig.check()
    rig.index.save()
    rig.add()
    rig.delete(ids[3])
    rig.open()
    assert isinstance(rig.index.current().index, GraphIndex)
    rig.check()
    for clip_id in ids[10:40]:
        rig.delete(clip_id)
    rig.index.audit()
    rig.check()
    rig.index.maintain()
    assert isinstance(rig.index.current().index, FlatIndex)
    rig.check()
    rig.index.save()
    assert not list((rig.directory / "index").glob("rows-*"))


def test_a_gpu_answers_what_has_no_filter_and_follows_each_build(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 30)
    monkeypatch.setattr(index.graph_index, "FEW", 4)
    monkeypatch.setattr(index.gpu_forms, "ROOM", 0)
    monkeypatch.setattr(GpuReplica, "_quicker_from", lambda self, queries: 1)
    ids = [rig.add() for _ in range(60)]
    device = CpuDevice()
    rig.index = LiveIndex(rig.store, rig.directory / "i", MODEL, rig.model_row, PRIOR, device)
    queries = np.stack([rig.embeddings[i] for i in ids])

    def asked_of_gpu(*, allowed: np.ndarray | None = None, exact: bool = False) -> bool:
        before = device.searches
        found = rig.index.current().search(queries, 3, allowed, exact=exact)
        expected = [one for one in ids if allowed is None or one in allowed]
        assert [hits.ids[0] for hits in found][: len(expected)] == expected
        return device.searches > before

    assert rig.index.backend == "faiss-cpu"
    assert not asked_of_gpu()
    rig.index.replicate()
    assert rig.index.backend == "faiss-gpu"
    assert asked_of_gpu()
    assert not asked_of_gpu(exact=True)
    assert not asked_of_gpu(allowed=np.array(ids[:20]))
    ids.append(rig.add())
    rig.delete(ids[0])
    rig.index.remove([ids.pop(0)])
    queries = np.stack([rig.embeddings[i] for i in ids])
    assert asked_of_gpu()

    rig.index.rebuild()
    assert not asked_of_gpu()
    rig.index.replicate()
    assert asked_of_gpu()
    device.fails = "search"
    assert not asked_of_gpu()
    assert rig.index.backend == "faiss-cpu"
    rig.check()


def test_a_build_under_way_is_given_up_when_the_service_stops(rig: Rig) -> None:
    for _ in range(3):
        rig.add()
    rig.index.stop()
    with pytest.raises(Unavailable):
        rig.index.rebuild()
    assert rig.index.state == "ready"
    rig.check()


def test_a_block_is_added_beside_a_rebuild_and_a_deletion(rig: Rig) -> None:
    removals = rig.index.removals
    ids = [rig.commit() for _ in range(5)]
    rig.index.audit()  # is quicker: it adds all of them
    late = [rig.commit() for _ in range(3)]
    wanted = np.array(ids[3:] + late, np.int64)
    vectors = np.stack([rig.embeddings[i] for i in wanted.tolist()])
    rig.delete(late[1])
    rig.index.remove([late[1]])
    assert rig.index.add_block(wanted, vectors, removals=removals)
    assert sorted(i for i in ids + late if i in rig.index) == [*ids, late[0], late[2]]
    assert len(rig.index) == 7


def test_a_block_that_cannot_be_added_is_repaired(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    ids = np.array([rig.commit() for _ in range(5)], np.int64)
    vectors = np.stack([rig.embeddings[i] for i in ids.tolist()])
    with monkeypatch.context() as broken:
        broken.setattr(FlatIndex, "add", fail)
        assert not rig.index.add_block(ids, vectors, removals=rig.index.removals)
    assert (rig.index.state, rig.index.pending) == ("degraded", 5)
    rig.index.maintain()
    assert (rig.index.state, len(rig.index)) == ("ready", 5)
