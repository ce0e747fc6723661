"""Runs of clusters, their blocks, and what clips are grouped by, on both databases."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from sqlalchemy import func, select, text

from app.domain import ClipFields, ClipFilter, GivenScores, ModelInfo, Recognition
from app.store import Store, clips, cluster_runs, clusterable, imports, models, recognitions
from app.store.cluster_runs import NewRun, Points, StoredCluster
from tests.store.test_store import MODEL, NOW, add, model_id

__all__ = ["model_id"]  # a fixture

LATER = NOW + dt.timedelta(minutes=5)


def new_run(model_row: int, previous: int | None = None) -> NewRun:
    return NewRun(model_row, "kmeans", 5, 2**31 - 1, {"emotion": ["sad"]}, previous)


def test_runs_are_queued_taken_up_and_finished(store: Store, model_id: int) -> None:
    with store.write() as session:
        assert cluster_runs.next_one(session) is None
        first = cluster_runs.begin(session, new_run(model_id), NOW)
        second = cluster_runs.begin(session, new_run(model_id, first.id), LATER)
    assert (first.state, first.attempts, first.model, first.seed) == ("queued", 0, MODEL, 2**31 - 1)
    assert second.previous == first.id
    with store.write() as session:
        assert cluster_runs.next_one(session) == first
        assert cluster_runs.take_up(session, first.id, LATER, again=False)
        assert cluster_runs.take_up(session, first.id, LATER, again=True)
    with store.read() as session:
        running = cluster_runs.next_one(session)
    assert running is not None
    assert (running.id, running.state, running.attempts, running.started) == (
        *(first.id, "running", 1),
        LATER,
    )
    centre = np.arange(3, dtype=np.float32)
    stored = StoredCluster(0, 7, "angry", {"size": 2}, centre)
    with store.write() as session:
        assert cluster_runs.finish(session, first.id, [stored], {"clips": 2}, LATER)
    with store.write() as session:
        cluster_runs.fail(session, second.id, "why", LATER)
        assert cluster_runs.next_one(session) is None
    with store.read() as session:
        done, failed = cluster_runs.get(session, first.id), cluster_runs.get(session, second.id)
        assert done is not None
        assert failed is not None
        assert (done.state, done.summary, done.finished) == ("done", {"clips": 2}, LATER)
        assert (failed.state, failed.message) == ("failed", "why")
        [one] = cluster_runs.clusters_of(session, first.id)
        assert (one.number, one.lasting_id, one.name, one.profile) == (0, 7, "angry", {"size": 2})
        np.testing.assert_array_equal(one.centre, centre)
        assert [run.id for run in cluster_runs.page(session, 9, None)] == [second.id, first.id]
        assert [run.id for run in cluster_runs.page(session, 9, second.id)] == [first.id]
        assert len(cluster_runs.page(session, 1, None)) == 1


def test_a_run_that_is_put_back_was_not_begun(store: Store, model_id: int) -> None:
    with store.write() as session:
        run = cluster_runs.begin(session, new_run(model_id), NOW)
        cluster_runs.put_back(session, run.id)  # not under way
        assert cluster_runs.get(session, run.id) == run
        cluster_runs.take_up(session, run.id, NOW, again=False)
        cluster_runs.put_back(session, run.id)
        back = cluster_runs.get(session, run.id)
    assert back is not None
    assert (back.state, back.attempts) == ("queued", 0)


def test_nothing_is_written_of_a_deleted_run(store: Store, model_id: int) -> None:
    ids = np.array([1], np.int64)
    points = Points(ids, ids.astype(np.int32), ids.astype(np.int8), np.zeros((1, 2), np.float32))
    with store.write() as session:
        run = cluster_runs.begin(session, new_run(model_id), NOW)
        assert cluster_runs.add_members(session, run.id, [(0, ids)])
        assert cluster_runs.add_points(session, run.id, [points])
    with store.write() as session:
        assert cluster_runs.remove(session, run.id)
        assert not cluster_runs.remove(session, run.id)
    with store.write() as session:
        assert not cluster_runs.take_up(session, run.id, NOW, again=False)
        assert not cluster_runs.add_members(session, run.id, [(0, ids)])
        assert not cluster_runs.add_points(session, run.id, [points])
        assert not cluster_runs.finish(session, run.id, [], {}, NOW)
        cluster_runs.fail(session, run.id, "why", NOW)
        cluster_runs.put_back(session, run.id)
    with store.read() as session:
        for table in ("cluster_runs", "clusters", "cluster_members", "cluster_points"):
            assert session.scalar(select(func.count()).select_from(text(table))) == 0
    with store.write() as session:
        assert cluster_runs.begin(session, new_run(model_id), NOW).id > run.id


def test_members_and_points_come_page_by_page(
    store: Store, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_runs, "BLOCK", 3)
    ids = {0: np.arange(1, 40, 2), 1: np.arange(2, 20, 2), -1: np.array([50, 60, 2**40])}
    with store.write() as session:
        run = cluster_runs.begin(session, new_run(model_id), NOW)
        for cluster, some in ids.items():
            blocks = [(cluster, some[start : start + 3]) for start in range(0, len(some), 3)]
            cluster_runs.add_members(session, run.id, blocks)
        for start in range(0, 20, 3):
            part = ids[0][start : start + 3]
            cluster_runs.add_points(
                session,
                run.id,
                [
                    Points(
                        part,
                        np.full(len(part), 0, np.int32),
                        (part % 9).astype(np.int8),
                        np.stack([part, -part], axis=1).astype(np.float32),
                    )
                ],
            )
    with store.read() as session:
        for limit in (1, 2, 3, 4, 100):
            for cluster, some in ids.items():
                found, after = [], 0
                while len(part := cluster_runs.members(session, run.id, cluster, after, limit)):
                    assert len(part) == min(limit, len(some) - len(found))
                    found += part.tolist()
                    after = found[-1]
                assert found == some.tolist()
            seen, after = [], 0
            while len((points := cluster_runs.points(session, run.id, after, limit)).ids):
                np.testing.assert_array_equal(points.places[:, 0], points.ids)
                np.testing.assert_array_equal(points.places[:, 1], -points.ids)
                np.testing.assert_array_equal(points.emotions, points.ids % 9)
                seen += points.ids.tolist()
                after = seen[-1]
            assert seen == ids[0].tolist()
        everyone, labels = cluster_runs.all_members(session, run.id)
    expected = sorted((i, c) for c, some in ids.items() for i in some.tolist())
    assert list(zip(everyone.tolist(), labels.tolist(), strict=True)) == expected
    with store.write() as session:  # what an earlier process wrote is not kept
        cluster_runs.take_up(session, run.id, NOW, again=False)
        assert len(cluster_runs.all_members(session, run.id)[0]) == 0
        assert len(cluster_runs.points(session, run.id).ids) == 0


def test_clips_are_read_as_one_model_hears_them(store: Store, model_id: int) -> None:
    fields = ClipFields("c", agent_id="a", recorded_at=NOW + dt.timedelta(microseconds=7))
    full = add(store, model_id, fields=fields)
    hidden = add(store, model_id, indexable=False)
    with store.write() as session:
        imports.add(
            session,
            model_id,
            np.array([77]),
            [imports.ImportedClip(heard=GivenScores("sad"))],
            np.ones((1, 4), np.float32),
            NOW,
        )
        other = models.place_beside(
            session, ModelInfo("other", "e" * 64, 2, bundled=False), np.ones(2, np.float32)
        )
        scores = np.full(9, 0.1, np.float32)
        scores[0] = 0.2
        heard = Recognition(scores, np.array([5.0, 6.0], np.float32))
        recognitions.add(session, other, {full: heard})
    for turn in range(2):
        with store.read() as session:
            assert clusterable.ids(session, model_id, ClipFilter()).tolist() == [full, 77]
            assert clusterable.ids(session, other, ClipFilter()).tolist() == [full]
            by_customer = clusterable.ids(session, model_id, ClipFilter(customer_id="c"))
            assert by_customer.tolist() == [full]
            page = clusterable.page(session, model_id, np.array([full, 77, 1000]))
            by_other = clusterable.page(session, other, np.array([full, 77]))
            assert clusterable.page(session, other, np.array([77])) is None
        assert page is not None
        assert by_other is not None
        assert page.ids.tolist() == [full, 77]
        assert page.vectors.tolist() == [[0, 1, 2, 3], [1, 1, 1, 1]]
        assert page.scores[0, 3] == pytest.approx(0.6)
        assert np.isnan(page.scores[1]).all()
        assert page.emotions.tolist() == [3, 6]
        assert np.isnan(page.confidences[1])
        micro = (NOW - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        assert page.instants.tolist() == [micro + 7, micro]
        assert (page.customers, page.agents) == (["c", None], ["a", None])
        assert by_other.vectors.tolist() == [[5, 6]]
        assert (by_other.emotions[0], by_other.scores[0, 0]) == (0, pytest.approx(0.2))
        last = page.at(np.array([1]))
        assert (last.ids.tolist(), last.customers) == ([77], [None])
        if turn == 0:  # the same when the other one is active
            with store.write() as session:
                models.set_roles(session, other, model_id)
                recognitions.swap(session, other)
    assert hidden not in page.ids


def test_the_living(store: Store, model_id: int) -> None:
    ids = [add(store, model_id, fields=ClipFields(f"c{n % 3}", agent_id="a")) for n in range(6)]
    with store.write() as session:
        clips.remove(session, [ids[0], ids[1], ids[4]])
    with store.read() as session:
        live = clusterable.live(session, np.array([*ids, 999]))
        assert live.tolist() == [False, False, True, True, False, True, False]
        customers, agents = clusterable.people_left(session, ["c0", "c1", "c2", "c9"], ["a", "b"])
        assert (customers, agents) == ({"c0", "c2"}, {"a"})
        assert clusterable.people_left(session, [], []) == (set(), set())
