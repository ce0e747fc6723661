"""Slots: each once, the missed ones too, whoever looks."""

from __future__ import annotations

import datetime as dt
import threading

import pytest

from app.domain import ClipFilter
from app.errors import InvalidParameter, NotFound
from app.library.filter_json import from_json
from app.library.schedules import Schedules, WantedSchedule
from app.store import Store, reports
from app.store.reports import Report

MONDAY = dt.datetime(2026, 6, 1, 7, tzinfo=dt.UTC)
WEEK = dt.timedelta(weeks=1)
WEEKLY = WantedSchedule("Weekly", "0 7 * * MON")


class Clock:
    def __init__(self) -> None:
        self.now = MONDAY - dt.timedelta(days=2)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedules(store: Store, clock: Clock) -> Schedules:
    return Schedules(store, clock)


def made(store: Store) -> list[Report]:
    """Oldest first."""
    with store.read() as session:
        return reports.page(session, 100, None)[::-1]


def fire_all(schedules: Schedules) -> None:
    while due := schedules.due():
        for schedule_id, slot in due:
            schedules.fire(schedule_id, slot)


def test_a_slot_has_one_report_of_the_time_since_the_one_before(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    one = schedules.add(WEEKLY)
    assert one.next_slot == MONDAY
    assert schedules.due() == []
    clock.now = MONDAY
    assert schedules.due() == [(one.id, MONDAY)]
    assert schedules.fire(one.id, MONDAY)
    assert not schedules.fire(one.id, MONDAY)
    [report] = made(store)
    assert (report.schedule_id, report.slot, report.name) == (one.id, MONDAY, "Weekly")
    assert from_json(report.filters) == ClipFilter(since=MONDAY - WEEK, until=MONDAY)
    told = schedules.get(one.id)
    assert (told.last_slot, told.next_slot) == (MONDAY, MONDAY + WEEK)


def test_missed_slots_are_made_up_for_each_with_its_own_time(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    schedules.add(WEEKLY)
    clock.now = MONDAY + 2 * WEEK + dt.timedelta(hours=1)
    fire_all(schedules)
    assert [report.slot for report in made(store)] == [MONDAY + n * WEEK for n in range(3)]
    assert [from_json(report.filters).since for report in made(store)] == [
        MONDAY + n * WEEK for n in (-1, 0, 1)
    ]


def test_of_too_many_missed_slots_the_latest_are_made_up_for(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    schedules.add(WantedSchedule("Weekly", "0 7 * * MON", catch_up=2))
    clock.now = MONDAY + 10 * WEEK
    fire_all(schedules)
    assert [report.slot for report in made(store)] == [MONDAY + 9 * WEEK, MONDAY + 10 * WEEK]


def test_many_at_once_fire_a_slot_once(store: Store, schedules: Schedules, clock: Clock) -> None:
    one = schedules.add(WEEKLY)
    clock.now = MONDAY
    fired: list[bool] = []
    start = threading.Barrier(6)

    def fire() -> None:
        start.wait()
        fired.append(schedules.fire(one.id, MONDAY))

    threads = [threading.Thread(target=fire) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fired) == [False] * 5 + [True]
    assert len(made(store)) == 1


def test_a_slot_whose_report_was_deleted_gets_no_other(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    one = schedules.add(WEEKLY)
    clock.now = MONDAY
    fire_all(schedules)
    with store.write() as session:
        reports.remove(session, made(store)[0].id)
    assert not schedules.fire(one.id, MONDAY)
    fire_all(schedules)
    assert made(store) == []


def test_a_clock_that_is_set_back_brings_no_second_report(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    one = schedules.add(WEEKLY)
    clock.now = MONDAY
    fire_all(schedules)
    clock.now = MONDAY - dt.timedelta(days=1)
    schedules.change(one.id, {"cron": "0 7 * * 1"})
    assert schedules.get(one.id).next_slot == MONDAY
    clock.now = MONDAY
    fire_all(schedules)
    assert len(made(store)) == 1
    assert schedules.get(one.id).next_slot == MONDAY + WEEK


def test_slots_of_the_time_when_it_was_not_enabled_are_given_up(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    one = schedules.add(WEEKLY)
    schedules.change(one.id, {"enabled": False})
    clock.now = MONDAY + WEEK + dt.timedelta(days=1)
    assert schedules.due() == []
    assert not schedules.fire(one.id, MONDAY)
    schedules.change(one.id, {"enabled": True})
    assert schedules.get(one.id).next_slot == MONDAY + 2 * WEEK
    fire_all(schedules)
    assert made(store) == []


def test_a_schedule_that_is_gone_fires_no_more(
    store: Store, schedules: Schedules, clock: Clock
) -> None:
    one = schedules.add(WEEKLY)
    schedules.remove(one.id)
    clock.now = MONDAY
    assert schedules.due() == []
    assert not schedules.fire(one.id, MONDAY)
    with pytest.raises(NotFound):
        schedules.get(one.id)
    assert schedules.add(WEEKLY).id > one.id


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"cron": "0 7 * *"}, "cron"),
        ({"time_zone": "Nowhere"}, "time_zone"),
        ({"filters": ClipFilter(since=MONDAY)}, "filters"),
    ],
)
def test_what_is_not_valid_changes_nothing(
    schedules: Schedules, changes: dict[str, object], parameter: str
) -> None:
    one = schedules.add(WEEKLY)
    with pytest.raises(InvalidParameter) as refused:
        schedules.change(one.id, changes)
    assert refused.value.parameter == parameter
    assert schedules.get(one.id) == one
