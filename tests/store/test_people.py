"""Customers and agents in the database: who is behind, what is kept of them, what clips say."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from app.analysis.drift import Sums
from app.domain import LABELS, ClipFields, GivenScores, PersonKind
from app.store import Store, clips, imports, people, people_marks, recognitions
from app.store.people import Person, PersonDrift
from tests.store.test_recognitions import add_many, beside, heard
from tests.store.test_store import NOW, add, model_id, new_clip

__all__ = ["model_id"]  # a fixture


def behind(store: Store, kind: PersonKind, limit: int = 50) -> list[str]:
    """Brings them in, as far as marks go."""
    with store.write() as session:
        found = people_marks.behind(session, kind, limit)
        if found is None:
            return []
        people_marks.brought_in(session, kind, found)
        return found.persons


def both(store: Store) -> tuple[list[str], list[str]]:
    return behind(store, "customer"), behind(store, "agent")


def forget_marks(store: Store) -> None:
    while both(store) != ([], []):
        pass
    with store.read() as session:
        assert not people_marks.any_left(session)


def add_of(
    store: Store,
    model: int,
    customer: str | None = None,
    agent: str | None = None,
    label: str = "neutral",
    at: dt.datetime | None = None,
) -> int:
    fields = ClipFields(customer_id=customer, agent_id=agent, recorded_at=at)
    return add(store, model, fields=fields, recognition=heard(label))


def person(id: str, kind: PersonKind = "customer", evidence: float | None = None) -> Person:
    """With as many clips as the id says."""
    number = int(id[1:])
    drift = None if evidence is None else PersonDrift(evidence, 0.1, 0.4, 12, 8, NOW)
    return Person(
        kind, id, number, NOW - dt.timedelta(1), NOW, number, number // 2, 1 / number, drift
    )


class TestMarks:
    def test_a_new_database_has_everybody_behind(self, store: Store) -> None:
        with store.read() as session:
            assert people_marks.any_left(session)
        assert both(store) == ([], [])
        with store.read() as session:
            assert not people_marks.any_left(session)

    def test_whatever_changes_a_clip_names_whose_it_is(self, store: Store, model_id: int) -> None:
        forget_marks(store)
        first = add_of(store, model_id, "ann", "x")
        assert both(store) == (["ann"], ["x"])
        add_of(store, model_id)
        assert both(store) == ([], [])
        with store.write() as session:
            clips.update(session, first, ClipFields(customer_id="ben"))
        customers, agents = both(store)
        assert (sorted(customers), agents) == (["ann", "ben"], ["x"])
        with store.write() as session:
            one = imports.ImportedClip(ClipFields(customer_id="cy"), GivenScores("sad"))
            imports.add(session, model_id, np.array([90]), [one], None, NOW)
        assert both(store) == (["cy"], [])
        other = beside(store)
        add_many(store, other, {first: heard("angry")})
        assert both(store) == ([], [])  # what another model hears changes nothing yet
        with store.write() as session:
            recognitions.swap(session, other, [first])
        assert both(store) == (["ben"], [])
        with store.write() as session:
            clips.remove(session, [first, 90])
        customers, agents = both(store)
        assert (sorted(customers), agents) == (["ben", "cy"], [])

    def test_a_change_that_is_undone_names_nobody(self, store: Store, model_id: int) -> None:
        forget_marks(store)
        new = new_clip(model_id, fields=ClipFields(customer_id="ann"))
        with pytest.raises(ZeroDivisionError), store.write() as session:
            clips.add(session, new)
            raise ZeroDivisionError
        assert both(store) == ([], [])

    def test_those_named_first_come_first_and_once(self, store: Store, model_id: int) -> None:
        forget_marks(store)
        for customer in ("b", "a", "b", "c", "a"):
            add_of(store, model_id, customer)
        add_of(store, model_id, None, "x")
        assert behind(store, "agent", 2) == []  # not yet
        assert behind(store, "customer", 2) == ["b", "a"]
        assert behind(store, "customer", 2) == ["c"]
        assert behind(store, "customer", 2) == []
        assert behind(store, "agent", 2) == ["x"]

    def test_what_comes_later_stays(self, store: Store, model_id: int) -> None:
        forget_marks(store)
        add_of(store, model_id, "a")
        with store.read() as session:
            found = people_marks.behind(session, "customer", 5)
        assert found is not None
        add_of(store, model_id, "a")
        with store.write() as session:
            people_marks.brought_in(session, "customer", found)
        assert behind(store, "customer") == ["a"]

    def test_everybody_in_pages(self, store: Store, model_id: int) -> None:
        for customer in ("d", "a", "c", "b", "b"):
            add_of(store, model_id, customer, "x")
        forget_marks(store)
        with store.write() as session:
            recognitions.swap(session, model_id)
        assert behind(store, "customer", 2) == ["a", "b"]
        add_of(store, model_id, "c")
        with store.write() as session:  # again, from the beginning: once is enough
            people_marks.everybody(session, ["customer"])
        assert behind(store, "customer", 2) == ["c", "a", "b"]
        assert behind(store, "customer", 2) == ["c", "d"]
        assert behind(store, "customer", 2) == []
        assert behind(store, "agent") == ["x"]
        forget_marks(store)


class TestTable:
    def test_what_is_put_in_comes_out(self, store: Store) -> None:
        kept = [person("p3", evidence=2.5), person("p8")]
        with store.write() as session:
            people.replace(session, "customer", ["p3", "p8", "p9"], kept)
            people.replace(session, "agent", ["p3"], [person("p3", "agent")])
        with store.read() as session:
            assert people.page(session, "customer", "drift", 5) == kept
        with store.write() as session:
            people.replace(session, "customer", ["p3", "p8"], [person("p8", evidence=1.0)])
        with store.read() as session:
            assert people.page(session, "customer", "drift", 5) == [person("p8", evidence=1.0)]
            assert people.page(session, "agent", "drift", 5) == [person("p3", "agent")]

    @pytest.mark.parametrize("sort", ["drift", "negative", "clips"])
    def test_pages_go_through_all_in_order(self, store: Store, sort: people.Sort) -> None:
        evidence = {1: 3.0, 2: None, 3: 1.0, 4: 3.0, 5: None, 6: 0.1 + 0.2}
        everybody = [person(f"p{n}", evidence=value) for n, value in evidence.items()]
        everybody.append(person("q4"))
        with store.write() as session:
            people.replace(session, "customer", [one.id for one in everybody], everybody)

        def key(one: Person) -> tuple[float, str]:
            of = {"drift": one.drift.evidence if one.drift else 0.0, "negative": one.level}
            return of.get(sort, one.clips), one.id

        expected = sorted(everybody, key=key, reverse=True)
        found: list[Person] = []
        with store.read() as session:
            while page := people.page(
                session, "customer", sort, 2, key(found[-1]) if found else None
            ):
                found += page
            assert found == expected
            some = people.page(session, "customer", sort, 9, least_evidence=1.0)
            assert some == [one for one in expected if one.id in ("p1", "p3", "p4")]

    def test_sums_and_baselines(self, store: Store) -> None:
        everybody = [person(f"p{n}") for n in range(1, 9)]
        with store.write() as session:
            people.replace(session, "agent", [one.id for one in everybody], [])
            assert people.sums(session, "customer") == (0, 0, 0, 0, 0)
            people.replace(session, "customer", [one.id for one in everybody], everybody)
            assert people.baseline(session, "customer") is None
            people.set_baseline(session, "customer", 0.1, 7.0)
            people.set_baseline(session, "customer", 0.2, 8.0)
        n = np.arange(1, 9)
        with store.read() as session:
            assert Sums(*people.sums(session, "customer")) == Sums.of(n // 2, n)
            assert people.sums(session, "agent")[0] == 0
            assert people.baseline(session, "customer") == (0.2, 8.0)


class TestClips:
    def test_the_latest_in_order_of_time(self, store: Store, model_id: int) -> None:
        hours = (5, 1, 3, 3, 9, 7)
        labels = ("sad", "happy", "angry", "neutral", "fearful", "disgusted")
        for hour, label in zip(hours, labels, strict=True):
            add_of(store, model_id, "ann", "x", label, NOW + dt.timedelta(hours=hour))
        with store.write() as session:
            unheard = imports.ImportedClip(
                ClipFields(customer_id="ann", recorded_at=NOW + dt.timedelta(hours=8))
            )
            imports.add(session, model_id, np.array([90]), [unheard], None, NOW)
        with store.read() as session:
            negative, instants = people.latest(session, "customer", "ann", 5)
            assert negative.tolist() == [False, True, True, True]
            assert instants == [NOW + dt.timedelta(hours=hour) for hour in (3, 5, 7, 9)]
            assert people.latest(session, "agent", "ann", 5)[1] == []
            first, last = (NOW + dt.timedelta(hours=hour) for hour in (1, 9))
            assert people.span(session, "customer", "ann") == (7, first, last)
            assert people.span(session, "agent", "x") == (6, first, last)
            assert people.span(session, "agent", "ann") is None
            assert people.persons(session, "customer", None, 5) == ["ann"]
            assert people.persons(session, "customer", "ann", 5) == []

    def test_days_are_of_utc(self, store: Store, model_id: int) -> None:
        west = dt.timezone(-dt.timedelta(hours=5))
        for hour, label in ((18, "sad"), (20, "sad"), (21, "happy")):
            at = dt.datetime(2024, 2, 28, hour, 30, tzinfo=west)
            add_of(store, model_id, "ann", None, label, at)
        with store.write() as session:
            said = ClipFields(customer_id="ann", recorded_at=dt.datetime(1931, 5, 1, tzinfo=dt.UTC))
            known = imports.ImportedClip(said, GivenScores("other"))
            imports.add(session, model_id, np.array([90]), [known], None, NOW)
        with store.read() as session:
            found = people.days(session, "customer", "ann")
            none = people.days(session, "agent", "ann")
        assert found.days.astype(str).tolist() == ["1931-05-01", "2024-02-28", "2024-02-29"]
        assert found.clips.tolist() == found.heard.tolist() == [1, 1, 2]
        assert found.negative.tolist() == [0, 1, 1]
        assert found.scored.tolist() == [0, 1, 2]
        sad, happy = (heard(label).scores for label in ("sad", "happy"))
        np.testing.assert_allclose(found.scores, [np.zeros(9), sad, sad + happy], rtol=1e-5)
        assert found.scores.shape[1] == len(LABELS)
        assert len(none.days) == len(none.scores) == 0
