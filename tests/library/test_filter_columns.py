"""Filters answered from memory, against the same filters in SQL."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain import ClipFields, ClipFilter
from app.errors import Unavailable
from app.library.columns import TABLE_BITS, Columns
from app.store import Store, clips
from tests.library.filter_rig import FILTERS, NOON, PLACES, STEPS, Rig


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=30),
    filters=st.lists(FILTERS, min_size=1, max_size=8),
    places=PLACES,
)
def test_memory_and_sql_agree(
    store: Store, steps: list[tuple[object, ...]], filters: list[ClipFilter], places: list[int]
) -> None:
    rig = Rig(store)
    for name, *said in steps:
        getattr(rig, str(name))(*said)
    filters += [rig.exactly(clip_id) for clip_id in rig.some(places)]
    rig.check(*filters)
    rig.restart()
    rig.check(*filters)


def test_each_field_alone_finds_some_and_leaves_some(rig: Rig) -> None:
    said = ClipFields("c", "l", "g", NOON, ("t", "u"), {"k": "v"})
    found = rig.add("happy", 0.7, said, "b" * 64)
    rig.add()
    day = dt.timedelta(days=1)
    for wanted in (
        ClipFilter(emotions=("happy", "angry")),
        ClipFilter(min_confidence=0.6),
        ClipFilter(customer_id="c"),
        ClipFilter(call_id="l"),
        ClipFilter(agent_id="g"),
        ClipFilter(tags=("t", "u")),
        ClipFilter(metadata=(("k", "v"),)),
        ClipFilter(file_sha256="b" * 64),
    ):
        assert rig.columns.ids(wanted).tolist() == [found]
        rig.check(wanted)
    rig.change([0], ClipFields(recorded_at=NOON - day))
    rig.change([1], ClipFields(recorded_at=NOON + day))
    assert rig.columns.ids(ClipFilter(until=NOON)).tolist() == [found]
    assert rig.columns.ids(ClipFilter(since=NOON)).tolist() == rig.ids[1:]


def test_a_change_of_scores_that_fails_changes_nothing(rig: Rig) -> None:
    clip_id = rig.add("sad")
    with pytest.raises(KeyError), rig.columns.rescoring() as read, rig.store.write() as session:
        session.execute(text("UPDATE clips SET emotion = 'happy'"))
        read(session)
        raise KeyError
    assert rig.columns.ids(ClipFilter(emotions=("sad",))).tolist() == [clip_id]
    rig.check(ClipFilter(emotions=("happy",)))


def test_customers_whose_hashes_are_alike(rig: Rig) -> None:
    alike = (str(n) for n in range(10**7) if (hash(str(n)) ^ hash("a")) % 2**TABLE_BITS == 0)
    other = next(alike)
    rig.add("sad", 0.5, ClipFields("a"))
    kept = rig.add("sad", 0.5, ClipFields(other))
    assert rig.columns.ids(ClipFilter(), {"a"}).tolist() == [kept]


def test_a_clip_deleted_before_its_add_is_not_added(rig: Rig) -> None:
    new, removals = rig.new(), rig.columns.removals
    clip_id = rig.commit(new)
    rig.erase([clip_id])
    rig.columns.remove([clip_id])
    rig.columns.add(clip_id, new, removals=removals)
    rig.check()


def test_a_clip_changed_before_its_add_stays_changed(rig: Rig) -> None:
    new, removals = rig.new(), rig.columns.removals
    clip_id = rig.commit(new)
    rig.ids.append(clip_id)
    rig.change([0], ClipFields(customer_id="new"))
    rig.columns.add(clip_id, new, removals=removals)
    rig.check(ClipFilter(customer_id="new"))


def test_clips_that_arrive_out_of_order(rig: Rig) -> None:
    new = rig.new(fields=ClipFields(tags=("t",)))
    rig.ids = [rig.commit(new) for _ in range(5)]
    for clip_id in rig.ids[::-1]:
        rig.columns.add(clip_id, new, removals=rig.columns.removals)
    rig.check(ClipFilter(tags=("t",)))


def test_the_later_of_two_changes_stays(rig: Rig) -> None:
    clip_id = rig.add()
    rig.write(clip_id, ClipFields(customer_id="first"))
    rig.write(clip_id, ClipFields(customer_id="second"))
    for _ in range(2):  # in whichever order the two say so
        rig.columns.refresh([clip_id])
        rig.check(ClipFilter(customer_id="first"), ClipFilter(customer_id="second"))


def test_a_change_that_could_not_be_read_is_made_up_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id = rig.add()
    rig.write(clip_id, ClipFields(customer_id="new"))

    def fail(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "read", fail)
        with pytest.raises(Unavailable):
            rig.columns.refresh([clip_id])
        with pytest.raises(Unavailable):
            rig.columns.ids(ClipFilter(customer_id="new"))
    rig.check(ClipFilter(customer_id="new"))


def test_an_add_that_failed_is_made_up_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Columns, "extended", fail)
        rig.add()
    rig.check()


def test_an_audit_finds_what_changed_unseen(rig: Rig) -> None:
    gone = rig.add()
    rig.add()
    rig.erase([gone])
    rig.ids = [rig.ids[1], *(rig.commit(rig.new()) for _ in range(3))]
    rig.columns.audit()
    rig.check()


def test_many_clips_read_at_once(rig: Rig) -> None:
    new = rig.new(fields=ClipFields(tags=("t",), metadata={"k": 1}))
    with rig.store.write() as session:
        rig.ids = [clips.add(session, new) for _ in range(1203)]
    rig.columns.refresh(rig.ids)
    rig.check(ClipFilter(tags=("t",)), ClipFilter(metadata=(("k", "1"),)))
    rig.delete(range(400, 1000))
    rig.check(ClipFilter(tags=("t",)))


def test_readers_never_see_half_a_change(rig: Rig) -> None:
    steady = [rig.add("sad", 0.5, ClipFields("a", tags=("t",))) for _ in range(20)]
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        while not stop.is_set():
            found = rig.columns.ids(ClipFilter(tags=("t",), emotions=("sad",)))
            if found.tolist() != steady:
                wrong.append(found)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(120):  # slots die, columns are packed and grow meanwhile
            rig.change([number % 20], ClipFields("b" if number % 2 else "a", tags=("t",)))
            rig.add()
            if number % 3:
                rig.delete([-1])
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    rig.check(ClipFilter(customer_id="a"), ClipFilter(customer_id="b"))


def test_writers_together(rig: Rig) -> None:
    failures: list[BaseException] = []

    def write(customer: str) -> None:
        try:
            for _ in range(15):
                clip_id = rig.add("sad", 0.5, ClipFields(customer))
                rig.write(clip_id, ClipFields(customer, tags=("t",)))
                rig.columns.refresh([clip_id])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    rig.ids.sort()
    rig.check(*(ClipFilter(customer_id=name, tags=("t",)) for name in "abcd"))
