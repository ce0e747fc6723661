"""Runs of clusters beside deletions, ends of the process, and a change of the model."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from app.domain import ClipFilter, GivenScores, ModelInfo, Recognition
from app.errors import InvalidParameter, NotFound, Unavailable
from app.library import grouping_run
from app.library.clusterings import MOST_ATTEMPTS
from app.library.filter_json import from_json, to_json
from app.library.grouping_run import GroupingRun
from app.store import Store, cluster_runs, imports, models, recognitions
from tests.library.clusters_rig import Rig
from tests.store.test_store import NOW


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


@pytest.fixture
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """On SQLite alone: for what the database has no part in."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('lite') / 'test.db'}")
    store.migrate()
    yield Rig(store)
    store.close()


def test_every_clip_has_its_place_and_a_deleted_one_has_none(rig: Rig) -> None:
    ids = rig.add(130)
    run = rig.done(n_clusters=4, seed=3)
    assert run.summary is not None
    assert (run.summary["clips"], run.summary["outliers"], run.summary["events"]) == (130, 0, None)
    clusters = rig.runs.clusters(run.id)
    members = {one.number: rig.members(run.id, one.number, 7) for one in clusters}
    assert sorted(i for some in members.values() for i in some) == ids
    assert {n: len(some) for n, some in members.items()} == {
        one.number: one.profile["size"] for one in clusters
    }
    assert [one.lasting_id for one in clusters] == [1, 2, 3, 4]
    points, more = rig.runs.points(run.id, 0, 1000)
    assert (points.ids.tolist(), more) == (ids, None)
    cluster_of = {i: n for n, some in members.items() for i in some}
    assert points.clusters.tolist() == [cluster_of[i] for i in ids]

    first = clusters[0]
    medoid, second, *_ = first.profile["exemplars"]
    assert {medoid, second} <= set(members[0])
    customer = first.profile["customers"][0]["id"]
    with rig.store.read() as session:
        theirs = cluster_runs_ids(session, rig.model_row, customer)
    gone = sorted({medoid, *theirs})
    rig.forget(gone)
    assert all(not set(rig.members(run.id, n)) & set(gone) for n in members)
    kept, _ = rig.runs.points(run.id, 0, 1000)
    assert kept.ids.tolist() == sorted(set(ids) - set(gone))
    for one in rig.runs.clusters(run.id):
        assert not set(one.profile["exemplars"]) & set(gone)
        assert customer not in {who["id"] for who in one.profile["customers"]}
        assert 0 < len(one.profile["exemplars"]) <= 5
    rig.runs.remove(run.id)
    assert set(rig.rows().values()) == {0}
    with pytest.raises(NotFound):
        rig.runs.get(run.id)
    with pytest.raises(NotFound):
        rig.runs.remove(run.id)


def cluster_runs_ids(session: object, model_row: int, customer: str) -> list[int]:
    from app.store import clusterable

    wanted = ClipFilter(customer_id=customer)
    found: list[int] = clusterable.ids(session, model_row, wanted).tolist()  # type: ignore[arg-type]
    return found


def test_one_seed_is_one_answer_and_a_run_after_it_knows_its_clusters(lite: Rig) -> None:
    lite.add(150)
    one, two = lite.begin(algorithm="hdbscan", seed=5), lite.begin(algorithm="hdbscan", seed=5)
    lite.runs.work()
    first, again = (lite.runs.clusters(run.id) for run in (one, two))
    assert [(c.name, c.profile) for c in first] == [(c.name, c.profile) for c in again]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.centre, b.centre)
    maps = [lite.runs.points(run.id, 0, 1000)[0] for run in (one, two)]
    np.testing.assert_array_equal(maps[0].places, maps[1].places)
    np.testing.assert_array_equal(maps[0].clusters, maps[1].clusters)
    assert lite.members(one.id, -1) == lite.members(two.id, -1)

    lite.add(12, seed=1)
    third = lite.done(algorithm="hdbscan", seed=6, previous=two.id)
    assert third.summary is not None
    assert third.summary["events"] is not None
    lasting = {c.lasting_id: c for c in lite.runs.clusters(third.id)}
    for before in again:
        if before.lasting_id in lasting:
            shared = set(lite.members(two.id, before.number))
            now = set(lite.members(third.id, lasting[before.lasting_id].number))
            assert len(shared & now) > len(shared) / 2
    assert {c.lasting_id for c in again} & set(lasting)
    turned = lite.runs.points(third.id, 0, 1000)[0]
    both = np.isin(turned.ids, maps[1].ids)
    product = np.linalg.svd(turned.places[both].T @ maps[1].places, compute_uv=False).sum()
    as_it_lies = float((turned.places[both] * maps[1].places).sum())
    assert as_it_lies == pytest.approx(product, rel=1e-3)  # no turn brings it nearer

    lite.runs.remove(two.id)
    with pytest.raises(InvalidParameter):
        lite.begin(previous=two.id)
    orphan = lite.runs.get(third.id)
    assert orphan.previous == two.id  # it was compared before


def test_deleted_while_it_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add(60)
    run, waiting = rig.begin(), rig.begin(n_clusters=2)
    with rig.held(monkeypatch, "_write_points") as go_on:
        assert rig.runs.get(run.id).state == "running"
        assert rig.runs.get(waiting.id).state == "queued"
        assert rig.runs.progress(waiting.id) is None
        progress = rig.runs.progress(run.id)
        assert progress is not None
        assert (progress.step, progress.done, progress.total) == ("writing", 60, 60)
        rig.runs.remove(run.id)
        go_on()
    assert [one.id for one in rig.runs.page(10, None)] == [waiting.id]
    assert rig.runs.get(waiting.id).state == "done"
    assert len(rig.members(waiting.id, 0) + rig.members(waiting.id, 1)) == 60


def test_deleted_while_its_process_computes(lite: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    lite.add(40)
    run = lite.begin()
    arrived, go_on = threading.Event(), threading.Event()
    facts = GroupingRun._facts

    def tell(self: GroupingRun, page: object) -> object:
        arrived.set()
        assert go_on.wait(60)
        return facts(self, page)  # type: ignore[arg-type]

    monkeypatch.setattr(GroupingRun, "_facts", tell)
    thread = threading.Thread(target=lite.runs.work)
    thread.start()
    assert arrived.wait(60)
    at_work = lite.runs._at_work
    lite.runs.remove(run.id)
    assert at_work is not None
    assert at_work._stopping.is_set()
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    assert set(lite.rows().values()) == {0}


def test_an_end_in_good_order_does_not_count(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.add(60)
    run = rig.begin()
    with rig.held(monkeypatch, "_write_points") as go_on:
        rig.runs.close()
        go_on()
    left = rig.runs.get(run.id)
    assert (left.state, left.attempts) == ("queued", 0)
    rig.open()
    rig.runs.work()
    assert rig.runs.get(run.id).state == "done"
    assert sum(len(rig.members(run.id, c.number)) for c in rig.runs.clusters(run.id)) == 60


def test_what_was_interrupted_is_begun_again_twice_at_most(rig: Rig) -> None:
    ids = rig.add(60)
    run, hopeless = rig.begin(), rig.begin()
    with rig.store.write() as session:  # as kill -9 leaves them
        cluster_runs.take_up(session, run.id, NOW, again=False)
        cluster_runs.add_members(session, run.id, [(0, np.array(ids[:20]))])
        for _ in range(MOST_ATTEMPTS):
            cluster_runs.take_up(session, hopeless.id, NOW, again=False)
    rig.open()
    rig.runs.work()
    done = rig.runs.get(run.id)
    assert (done.state, done.attempts) == ("done", 2)
    found = [i for c in rig.runs.clusters(run.id) for i in rig.members(run.id, c.number)]
    assert sorted(found) == ids
    failed = rig.runs.get(hopeless.id)
    assert failed.state == "failed"
    assert failed.message is not None
    assert "3 times" in failed.message


def test_too_few_clips_are_told(lite: Rig) -> None:
    lite.add(30)
    for wanted, told in (
        ({"filters": ClipFilter(customer_id="nobody")}, "0 clips with"),
        ({"n_clusters": 31}, "30 clips with embeddings match; at least 31"),
    ):
        run = lite.begin(**wanted)
        lite.runs.work()
        failed = lite.runs.get(run.id)
        assert (failed.state, failed.finished is not None) == ("failed", True)
        assert failed.message is not None
        assert told in failed.message


def test_filters_choose_the_clips(lite: Rig) -> None:
    lite.add(160)
    wanted = ClipFilter(customer_id="customer 1", until=NOW)
    with lite.store.read() as session:
        theirs = set(cluster_runs_ids(session, lite.model_row, "customer 1"))
    run = lite.done(n_clusters=2, filters=wanted)
    found = {i for c in (0, 1) for i in lite.members(run.id, c)}
    assert found <= theirs
    assert len(found) >= 20
    assert from_json(lite.runs.get(run.id).filters) == wanted
    for cluster in lite.runs.clusters(run.id):
        assert [who["id"] for who in cluster.profile["customers"]] == ["customer 1"]


def test_filters_are_kept_as_they_were_given() -> None:
    full = ClipFilter(
        emotions=("sad", "angry"),
        min_confidence=0.25,
        customer_id="c",
        call_id="l",
        agent_id="a",
        tags=("x", "y"),
        since=NOW,
        until=NOW,
        metadata=(("k", "v"), ("since", "w")),
        file_sha256="0" * 64,
    )
    for wanted in (full, ClipFilter(), ClipFilter(min_confidence=0.0)):
        assert from_json(to_json(wanted)) == wanted
    assert to_json(ClipFilter()) == {}


def test_imported_clips_lack_what_they_lack(lite: Rig) -> None:
    lite.add(40)
    random = np.random.default_rng(1)
    vectors = random.standard_normal((40, 32)).astype(np.float32) + 5
    vectors[3] = np.nan
    with lite.store.write() as session:
        given = [imports.ImportedClip(heard=GivenScores(None)) for _ in range(40)]
        imports.add(session, lite.model_row, np.arange(1000, 1040), given, vectors, NOW)
    run = lite.done(n_clusters=3)
    assert run.summary is not None
    assert run.summary["clips"] == 79
    assert 1003 not in {i for c in range(3) for i in lite.members(run.id, c)}
    alone = lite.done(n_clusters=2, filters=ClipFilter(since=NOW))
    for cluster in lite.runs.clusters(alone.id):
        assert sum(cluster.profile["emotions"].values()) == pytest.approx(
            1.0 if cluster.profile["emotions_known"] else 0.0
        )


def test_a_run_keeps_to_its_model(lite: Rig) -> None:
    ids = lite.add(60)
    before = lite.done(n_clusters=3)
    later = lite.begin(n_clusters=3)
    random = np.random.default_rng(0)
    with lite.store.write() as session:
        other = models.place_beside(
            session, ModelInfo("other", "e" * 64, 4, bundled=False), np.ones(4, np.float32)
        )
        heard = {
            i: Recognition(
                random.dirichlet(np.ones(9)).astype(np.float32),
                random.standard_normal(4).astype(np.float32),
            )
            for i in ids
        }
        recognitions.add(session, other, heard)
        models.set_roles(session, other, lite.model_row)
        recognitions.swap(session, other)
    lite.runs.work()
    assert lite.runs.get(later.id).model == lite.runs.get(before.id).model
    one, two = (lite.runs.clusters(run.id) for run in (before, later))
    assert [(c.name, c.profile) for c in one] == [(c.name, c.profile) for c in two]
    lite.model_row = other
    with pytest.raises(InvalidParameter, match="test/voices"):
        lite.begin(previous=later.id)
    assert lite.done(n_clusters=2).model.id == "other"


def test_a_process_that_is_killed_is_told(lite: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    lite.add(40)
    started = grouping_run.GroupingProcess

    def doomed(*of: object) -> object:
        process = started(*of)  # type: ignore[arg-type]
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(grouping_run, "GroupingProcess", doomed)
    run = lite.begin()
    lite.runs.work()
    failed = lite.runs.get(run.id)
    assert failed.state == "failed"
    assert failed.message is not None
    assert "memory" in failed.message


def test_a_database_that_does_not_answer_is_waited_for(
    lite: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.add(40)
    run = lite.begin(n_clusters=2)

    def lost(*_: object) -> None:
        raise Unavailable("The database does not answer; try again later.")

    with monkeypatch.context() as broken:
        broken.setattr(GroupingRun, "_grouped", lost)
        for _ in range(MOST_ATTEMPTS + 1):
            with pytest.raises(Unavailable):
                lite.runs.work()
    assert lite.runs.get(run.id).attempts == 1
    lite.runs.work()
    assert lite.runs.get(run.id).state == "done"
