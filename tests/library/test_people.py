"""The table of customers and agents is what their clips come to, whatever happens to these."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import pytest

from app.analysis import drift as drifts
from app.domain import ClipFields, GivenScores, PersonKind
from app.errors import NotFound
from app.library import people as library_people
from app.library.people import People
from app.store import Store, clips, imports, people, people_marks, recognitions
from app.store.people import Person
from tests.store.test_people import add_of
from tests.store.test_recognitions import add_many, beside, heard
from tests.store.test_store import NOW, model_id

__all__ = ["model_id"]  # a fixture

NAMES = (None, "ann", "ben", "c/y", "Émile")
EMOTIONS = ("angry", "sad", "happy", "neutral", "unknown")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_people, "PAGE", 2)
    monkeypatch.setattr(library_people, "REFIT_SECONDS", 0.0)


def listed(store: Store, kind: PersonKind) -> dict[str, Person]:
    with store.read() as session:
        return {one.id: one for one in people.page(session, kind, "clips", 1000)}


def check(store: Store) -> None:
    """Nobody is behind, and everybody is listed as their history says."""
    history = People(store).history
    for kind, column in people.PERSON_OF.items():
        found = listed(store, kind)  # type: ignore[arg-type]
        with store.read() as session:
            assert not people_marks.any_left(session)
            ids = people.persons(session, kind, None, 1000)  # type: ignore[arg-type]
        assert set(found) == set(ids), column
        for id in ids:
            assert history(kind, id, "day", 30).person == found[id]  # type: ignore[arg-type]


def add_many_of(store: Store, model: int, customer: str, *shares: tuple[int, float]) -> None:
    """Store clips, one an hour, of which these shares are negative, evenly."""
    negative = np.concatenate([np.diff(np.arange(n + 1) * share // 1) > 0 for n, share in shares])
    said = [
        imports.ImportedClip(
            ClipFields(customer_id=customer, recorded_at=NOW + dt.timedelta(hours=hour)),
            GivenScores("angry" if bad else "happy"),
        )
        for hour, bad in enumerate(negative)
    ]
    with store.write() as session:
        first = people.span(session, "customer", customer)
        ids = np.arange(len(said)) + 10_000 * (1 + len(customer)) + (first[0] if first else 0)
        imports.add(session, model, ids, said, None, NOW)


def test_whatever_happens_to_clips(store: Store, model_id: int) -> None:
    chance, ids, kept_up = random.Random(0), [], People(store)
    other = beside(store)
    for step in range(60):
        persons = chance.choice(NAMES), chance.choice(NAMES)
        action = chance.choice(("add", "add", "import", "change", "remove", "switch"))
        if action == "add" or not ids:
            at = NOW + dt.timedelta(hours=chance.randrange(1000))
            ids.append(add_of(store, model_id, *persons, chance.choice(EMOTIONS), at))
            add_many(store, other, {ids[-1]: heard(chance.choice(EMOTIONS))})
        elif action == "import":
            fields = ClipFields(customer_id=persons[0], agent_id=persons[1])
            given = GivenScores(chance.choice((None, "sad")))
            with store.write() as session:
                one = imports.ImportedClip(fields, given)
                imports.add(session, model_id, np.array([10_000 + step]), [one], None, NOW)
            ids.append(10_000 + step)
        elif action == "change":
            fields = ClipFields(
                customer_id=persons[0],
                agent_id=persons[1],
                recorded_at=NOW + dt.timedelta(days=chance.randrange(9)),
            )
            with store.write() as session:
                clips.update(session, chance.choice(ids), fields)
        elif action == "remove":
            gone = ids.pop(chance.randrange(len(ids)))
            with store.write() as session:
                clips.remove(session, [gone])
        else:
            with store.write() as session:
                some = None if chance.random() < 0.5 else chance.sample(ids, len(ids) // 2 + 1)
                recognitions.swap(session, other, some)
            model_id, other = other, model_id
        if step % 3 == 0:
            kept_up.work()
            check(store)


def test_a_clip_that_comes_while_others_are_counted(
    store: Store, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, late = drifts.drift, iter([None])

    def drift(*arguments: object) -> object:
        for _ in late:
            add_of(store, model_id, "ann", "x")
        return real(*arguments)  # type: ignore[arg-type]

    add_of(store, model_id, "ann", "x")
    monkeypatch.setattr(drifts, "drift", drift)
    People(store).work()
    assert listed(store, "customer")["ann"].clips == 2
    check(store)


def test_who_has_no_clips_left_is_listed_no_more_at_once(
    store: Store, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add_of(store, model_id, id, "x") for id in ("ann", "ben", "cy")]
    kept_up, real = People(store), drifts.drift
    kept_up.work()
    with store.write() as session:
        clips.remove(session, ids[:1])
        clips.update(session, ids[1], ClipFields(agent_id="x"))
    assert list(listed(store, "customer")) == ["cy"]
    assert list(listed(store, "agent")) == ["x"]

    def drift(*arguments: object) -> object:  # asked between reading and writing
        with store.write() as session:
            clips.remove(session, ids[2:])
        return real(*arguments)  # type: ignore[arg-type]

    kept_up.work()
    with store.write() as session:
        clips.update(session, ids[2], ClipFields(customer_id="cy"))
    monkeypatch.setattr(drifts, "drift", drift)
    kept_up._bring_in("customer")
    assert listed(store, "customer") == {}


def test_a_process_that_ends_is_followed_by_one_that_goes_on(store: Store, model_id: int) -> None:
    for number in range(7):
        add_of(store, model_id, f"c{number}", "x")
    People(store).work()
    with store.write() as session:
        recognitions.swap(session, model_id)
    People(store)._bring_in("customer")  # and no more of it
    add_of(store, model_id, "c1", "x")
    with store.read() as session:
        assert people_marks.any_left(session)
    People(store).work()
    check(store)


def test_once_closed_it_does_nothing(store: Store, model_id: int) -> None:
    add_of(store, model_id, "ann")
    closed = People(store)
    closed.close()
    closed.work()
    assert listed(store, "customer") == {}


def test_a_drift_is_found_and_goes_with_its_clips(store: Store, model_id: int) -> None:
    add_many_of(store, model_id, "steady", (150, 0.1))
    add_many_of(store, model_id, "worse", (100, 0.1), (50, 0.5))
    add_many_of(store, model_id, "new", (drifts.FEWEST - 1, 0.5))
    kept_up = People(store)
    kept_up.work()
    check(store)
    with store.read() as session:
        first, *others = people.page(session, "customer", "drift", 9)
    assert first.id == "worse"
    assert first.drift is not None
    assert first.drift.evidence >= drifts.evidence_at(0.01)
    assert (first.drift.before, first.drift.since) == pytest.approx((0.1, 0.5), abs=0.05)
    assert abs(first.drift.changed_at - NOW - dt.timedelta(hours=100)) <= dt.timedelta(hours=4)
    assert {one.id: one.drift is None for one in others} == {"steady": False, "new": True}
    with store.write() as session:
        ids = np.arange(100, 150) + 10_000 * (1 + len("worse"))
        clips.remove(session, ids)
    kept_up.work()
    check(store)
    drift = listed(store, "customer")["worse"].drift
    assert drift is not None
    assert drift.evidence < drifts.evidence_at(0.1)


def test_baselines_are_learnt_and_brought_to_all(store: Store, model_id: int) -> None:
    for number in range(drifts.FEWEST_PEOPLE):
        add_many_of(store, model_id, "c" * (number + 1), (10 + number, 0.5))
    add_of(store, model_id, "once")
    kept_up = People(store)
    kept_up.work()
    check(store)
    with store.read() as session:
        kept = people.baseline(session, "customer")
        assert people.baseline(session, "agent") is None
    assert kept is not None
    assert kept[0] == pytest.approx(0.5, abs=0.05)
    level = listed(store, "customer")["once"].level
    assert level == pytest.approx(drifts.Baseline(*kept).share(0, 1))


def test_a_history(store: Store, model_id: int) -> None:
    for day, label in enumerate(("sad", "happy", "happy")):
        add_of(store, model_id, "a/b", None, label, NOW + dt.timedelta(days=7 * day))
    history = People(store).history("customer", "a/b", "week", 7.0)
    assert history.person.clips == history.person.heard == 3
    assert history.baseline == drifts.UNKNOWN
    np.testing.assert_allclose(history.timeline.smooth_negative, [1, 1 / 3, 1 / 7])
    for kind, id in (("customer", "nobody"), ("agent", "a/b")):
        with pytest.raises(NotFound, match=id):
            People(store).history(kind, id, "week", 7.0)  # type: ignore[arg-type]
