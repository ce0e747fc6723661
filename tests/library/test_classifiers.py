"""Classifiers in a library: trained, asked about new clips, applied to old ones, deleted."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.analysis.classifier import LinearClassifier
from app.domain import ClipFilter
from app.errors import (
    ClientGone,
    Conflict,
    InvalidParameter,
    NotFound,
    TooManyTrainings,
    Unavailable,
    UnderWay,
)
from app.library import Library, classifier_upkeep
from app.recogniser import Flow
from app.store import classifier_scores
from tests.library import classifier_rig as rig
from tests.library import spaces_rig

Open = Callable[..., Library]


@pytest.fixture
def on_each(reopen: Open, database: dict[str, str]) -> Library:
    """A library on either database."""
    return reopen(**database)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> rig.Held:
    """An apply that waits; see there."""
    monkeypatch.setattr(classifier_upkeep, "BLOCK", 10)
    one = rig.Held()
    monkeypatch.setattr(classifier_scores, "unscored", one)
    return one


def test_new_clips_are_scored_as_they_are_stored(on_each: Library) -> None:
    library = on_each
    assert spaces_rig.posted(library, 1)["classifiers"] == {}
    labelled = rig.import_clips(library, 48)
    one = rig.train(library, labelled)
    assert (one.name, one.labels) == ("mood", {"calm": 24, "cross": 24})
    assert one.quality is not None
    assert one.quality["roc_auc"]["value"] > 0.9
    assert (one.quality["clips"], one.quality["groups"]) == (48, rig.CUSTOMERS)
    answer = spaces_rig.posted(library, 2, channel="split")
    imported = rig.import_clips(library, 4, seed=5)
    right = answer["channels"]["right"]
    for part in (answer, right):
        [(name, said)] = part["classifiers"].items()
        assert (name, said["label"] in rig.LABELS) == ("mood", True)
        assert 0.5 <= said["probability"] <= 1
        assert library.classifiers.of_clip(part["clip_id"]) == {name: said}
    rig.check(library, one.id, [answer["clip_id"], right["clip_id"], *imported])
    said = [library.classifiers.of_clip(clip_id)["mood"]["label"] for clip_id in imported]
    assert said == ["calm", "cross"] * 2
    assert library.classifiers.of_clip(labelled[0]) == {}


def test_old_clips_are_scored_in_the_background(
    on_each: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = on_each
    monkeypatch.setattr(classifier_upkeep, "BLOCK", 10)
    labelled = rig.import_clips(library, 48)
    unindexed = spaces_rig.post(library, 1, index=False)
    one = rig.train(library, labelled)
    with pytest.raises(NotFound):
        library.classifier_upkeep.applied(one.id)
    posted = spaces_rig.post(library, 2)
    begun = library.classifier_upkeep.apply(one.id)
    assert begun.total == 49  # but the one that was scored when it was posted
    done = rig.applied(library, one.id)
    assert (done.done, done.total, sum(done.counts.values())) == (49, 49, 49)
    assert done.counts["cross"] >= 20
    assert (done.message, done.started) == (None, begun.started)
    assert done.finished is not None
    rig.check(library, one.id, [*labelled, unindexed, posted])
    assert library.classifier_upkeep.apply(one.id).total == 0
    assert rig.applied(library, one.id).counts == {}


def test_a_stop_and_what_is_left_after_it(library: Library, held: rig.Held) -> None:
    labelled = rig.import_clips(library, 48)
    one = rig.train(library, labelled)
    library.classifier_upkeep.apply(one.id)
    assert held.arrived.wait(rig.SECONDS)
    with pytest.raises(UnderWay):
        library.classifier_upkeep.apply(one.id)
    assert library.classifier_upkeep.applied(one.id).done == 10
    stopped = library.classifier_upkeep.stop(one.id)
    held.release()
    assert (stopped.state, stopped.done, stopped.total) == ("stopped", 10, 48)
    assert stopped.message is not None
    rig.idle(library)
    assert library.classifier_upkeep.applied(one.id) == stopped
    rig.check(library, one.id, labelled[:10])
    with pytest.raises(Conflict):
        library.classifier_upkeep.stop(one.id)
    assert library.classifier_upkeep.apply(one.id).total == 38
    assert rig.applied(library, one.id).done == 38
    rig.check(library, one.id, labelled)


def test_the_next_process_goes_on_with_an_apply(
    reopen: Open, database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = reopen(**database)
    labelled = rig.import_clips(library, 48)
    one = rig.train(library, labelled)
    monkeypatch.setattr(classifier_upkeep, "BLOCK", 10)
    add_block, blocks = classifier_scores.add_block, []

    def fail_at_third(*of: Any) -> list[int]:
        blocks.append(None)
        if len(blocks) == 3:
            raise Unavailable("The service is stopping.")
        return add_block(*of)

    with monkeypatch.context() as broken:
        broken.setattr(classifier_scores, "add_block", fail_at_third)
        library.classifier_upkeep.apply(one.id)
        rig.wait_for(lambda: len(blocks) == 3)
    assert library.classifier_upkeep.applied(one.id).done == 20
    library = reopen(**database)
    done = rig.applied(library, one.id)
    assert (done.done, done.total, sum(done.counts.values())) == (48, 48, 48)
    rig.check(library, one.id, labelled)


def test_clips_are_deleted_meanwhile(library: Library, held: rig.Held) -> None:
    labelled = rig.import_clips(library, 48)
    one = rig.train(library, labelled)
    library.classifier_upkeep.apply(one.id)
    assert held.arrived.wait(rig.SECONDS)  # with the second block read
    gone = [labelled[3], labelled[12], labelled[40]]
    for clip_id in gone:
        assert library.forget(clip_id)
    held.release()
    done = rig.applied(library, one.id)
    assert (done.done, done.total) == (46, 46)  # the first of them was scored before
    rig.check(library, one.id, [clip_id for clip_id in labelled if clip_id not in gone])
    assert library.classifiers.get(one.id).labels == {"calm": 22, "cross": 23}
    assert rig.count(library, "classifier_labels") == 45
    assert rig.count(library, "classifier_scores") == 90


def test_it_is_deleted_meanwhile(library: Library, held: rig.Held) -> None:
    labelled = rig.import_clips(library, 48)
    one, other = rig.train(library, labelled), rig.train(library, labelled, "other")
    library.classifier_upkeep.apply(one.id)
    assert held.arrived.wait(rig.SECONDS)
    assert library.classifiers.of_clip(labelled[0]).keys() == {"mood"}
    assert library.classifiers.remove(one.id)
    held.release()
    assert library.classifiers.of_clip(labelled[0]) == {}
    assert spaces_rig.posted(library, 1)["classifiers"].keys() == {"other"}
    assert [left.id for left in library.classifiers.every()] == [other.id]
    for ask in (library.classifiers.get, library.classifier_upkeep.apply):
        with pytest.raises(NotFound):
            ask(one.id)
    assert not library.classifiers.remove(one.id)
    rig.idle(library)
    assert rig.count(library, "classifier_fits") == 1
    assert rig.count(library, "classifier_scores") == 2  # of the clip that was posted
    assert rig.count(library, "classifier_labels") == 48


class Broken(Exception):
    pass


def test_one_that_fails_does_not_hinder_a_clip(
    on_each: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = on_each
    labelled = rig.import_clips(library, 48)
    for name in ("first", "second"):
        rig.train(library, labelled, name)
    [first, _] = library.classifiers.live(library.model_row)
    probabilities = LinearClassifier.probabilities

    def fail(self: LinearClassifier, embeddings: Any) -> Any:
        if self is first.classifier:
            raise Broken
        return probabilities(self, embeddings)

    with monkeypatch.context() as broken:
        broken.setattr(LinearClassifier, "probabilities", fail)
        answer = spaces_rig.posted(library, 1)
        imported = rig.import_clips(library, 2, seed=3)
    assert answer["classifiers"].keys() == {"second"}
    assert library.classifiers.of_clip(answer["clip_id"]).keys() == {"second"}
    assert library.classifiers.of_clip(imported[0]).keys() == {"second"}

    def refused(session: Any, *_: Any) -> bool:  # and the transaction with it, on Postgres
        return bool(session.execute(text("SELECT nothing FROM nowhere")))

    with monkeypatch.context() as broken:
        broken.setattr(classifier_scores, "add", refused)
        clip_id = spaces_rig.post(library, 2)
    assert library.clip(clip_id).id == clip_id
    assert library.classifiers.of_clip(clip_id) == {}
    assert spaces_rig.posted(library, 3)["classifiers"].keys() == {"first", "second"}


def test_a_damaged_one_is_not_asked(reopen: Open) -> None:
    library = reopen()
    labelled = rig.import_clips(library, 48)
    for name in ("first", "second"):
        rig.train(library, labelled, name)
    with library.store.write() as session:
        session.execute(text("UPDATE classifier_fits SET weights = x'00' WHERE id = 1"))
    library = reopen()
    assert spaces_rig.posted(library, 1)["classifiers"].keys() == {"second"}


def test_what_is_refused(library: Library) -> None:
    labelled = rig.import_clips(library, 20)
    silent = spaces_rig.post(library, 1)
    with library.store.write() as session:
        session.execute(text(f"DELETE FROM embeddings WHERE clip_id = {silent}"))
    good = rig.labels(labelled)

    def refused(labels: list[tuple[int, str]], customer: str | None = None) -> str:
        where = ClipFilter(customer_id=customer)
        with pytest.raises(InvalidParameter) as told:
            library.classifiers.train("n", labels, where, Flow())
        return told.value.detail

    assert "no clips 98, 99." in refused([*good, (99, "calm"), (98, "calm")])
    unknown = [(clip_id, "calm") for clip_id in range(100, 110)]
    assert "100, 101, 102, 103, 104, … (10 in all)" in refused([*good, *unknown])
    assert f"emoseek/bundled: {silent}." in refused([*good, (silent, "calm")])
    assert f"more than once: {labelled[2]}." in refused([*good, (labelled[2], "cross")])
    assert "all 'calm'" in refused([(clip_id, "calm") for clip_id in labelled])
    assert "'cross' (1) are of one customer" in refused([*good[::2], good[1]])
    assert "no labelled clip matches" in refused(good, "nobody")
    assert "of one customer" in refused(good, "c1")
    assert library.classifiers.every() == []
    rig.train(library, labelled)
    with pytest.raises(Conflict, match="'mood'"):
        rig.train(library, labelled)
    assert rig.count(library, "classifier_labels") == 20
    with pytest.raises(NotFound):
        library.classifier_upkeep.apply(7)


def test_filters_choose_among_the_labelled_clips(library: Library) -> None:
    labelled = rig.import_clips(library, 48)
    some = rig.import_clips(library, 8, seed=1)
    for clip_id in some:
        library.change(clip_id, {"tags": ("new",)})
    chosen = ClipFilter(tags=("new",))
    one = library.classifiers.train("new", rig.labels([*labelled, *some]), chosen, Flow())
    assert one.labels == {"calm": 4, "cross": 4}


def test_clips_deleted_during_the_training_have_no_label(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = rig.import_clips(library, 48)
    learn = library.classifiers.learn

    def delete_and_learn(*of: Any) -> Any:
        learnt = learn(*of)
        library.forget(labelled[5])
        return learnt

    monkeypatch.setattr(library.classifiers, "learn", delete_and_learn)
    assert rig.train(library, labelled).labels == {"calm": 24, "cross": 23}


def test_a_client_that_hangs_up_leaves_nothing(library: Library) -> None:
    labelled = rig.import_clips(library, 48)
    flow = Flow()
    flow.cancel()
    with pytest.raises(ClientGone):
        library.classifiers.train("n", rig.labels(labelled), ClipFilter(), flow)
    assert library.classifiers.every() == []


def test_some_at_once_and_not_too_many(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.library.classifiers.MOST", 3)
    labelled = rig.import_clips(library, 24)
    learn, inside, go_on = library.classifiers.learn, threading.Barrier(3), threading.Event()

    def wait_and_learn(*of: Any) -> Any:
        inside.wait(rig.SECONDS)
        assert go_on.wait(rig.SECONDS)
        return learn(*of)

    monkeypatch.setattr(library.classifiers, "learn", wait_and_learn)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        under_way = [pool.submit(rig.train, library, labelled, f"n{i}") for i in range(2)]
        inside.wait(rig.SECONDS)
        monkeypatch.setattr(library.classifiers, "learn", learn)
        assert spaces_rig.post(library, 1)  # clips are stored meanwhile
        waiting = [pool.submit(rig.train, library, labelled, f"m{i}") for i in range(8)]
        rig.wait_for(lambda: library.classifiers._places._value == 0)
        with pytest.raises(TooManyTrainings):
            rig.train(library, labelled, "too many")
        go_on.set()
    assert {one.result().name for one in under_way} <= {"n0", "n1"}
    outcomes = [one.exception() for one in waiting]
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(isinstance(one, Conflict) for one in outcomes if one is not None)
    assert len(library.classifiers.every()) == 3


def test_two_of_one_name_at_once(library: Library) -> None:
    labelled = rig.import_clips(library, 24)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(rig.train, library, labelled) for _ in range(2)]
    outcomes = [one.exception() for one in both]
    assert sorted(type(outcome) for outcome in outcomes if outcome) == [Conflict]
    assert [one.name for one in library.classifiers.every()] == ["mood"]
