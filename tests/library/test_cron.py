"""When expressions fall due, on days when clocks are changed, too."""

from __future__ import annotations

import datetime as dt

import pytest

from app.errors import InvalidParameter
from app.library.cron import Cron

BERLIN = "Europe/Berlin"  # 2026: forward on 29 March, back on 25 October, at 01:00 UTC


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+00:00")


def slots(cron: Cron, after: str, count: int) -> list[dt.datetime]:
    found = [cron.after(at(after))]
    while len(found) < count:
        found.append(cron.after(found[-1]))
    return found


def test_a_weekly_slot_is_at_the_same_time_of_the_wall_all_year() -> None:
    cron = Cron("0 7 * * MON", BERLIN)
    assert slots(cron, "2026-03-20T00:00", 3) == [
        at("2026-03-23T06:00"),
        at("2026-03-30T05:00"),
        at("2026-04-06T05:00"),
    ]


def test_a_time_that_is_leapt_over_counts_as_if_it_were_not() -> None:
    cron = Cron("30 2 * * *", BERLIN)
    assert slots(cron, "2026-03-28T00:00", 3) == [
        at("2026-03-28T01:30"),
        at("2026-03-29T01:30"),  # 03:30 on the wall
        at("2026-03-30T00:30"),
    ]


def test_a_time_that_comes_twice_counts_once() -> None:
    cron = Cron("30 2 * * *", BERLIN)
    assert slots(cron, "2026-10-24T12:00", 2) == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]


def test_slots_rise_where_leapt_times_fall_among_others() -> None:
    cron = Cron("*/30 * * * *", BERLIN)
    assert slots(cron, "2026-03-29T00:30", 4) == [
        at("2026-03-29T01:00"),
        at("2026-03-29T01:30"),
        at("2026-03-29T02:00"),
        at("2026-03-29T02:30"),
    ]


@pytest.mark.parametrize(
    "expression", ["30 2 * * *", "*/30 * * * *", "0 7 * * MON", "15 */3 1 * *"]
)
def test_before_is_the_inverse_of_after(expression: str) -> None:
    cron = Cron(expression, BERLIN)
    slot = cron.after(at("2026-03-28T22:00"))
    for _ in range(6):
        following = cron.after(slot)
        assert following > slot
        assert cron.before(following) == slot
        slot = following


@pytest.mark.parametrize("zone", ["UTC", BERLIN])
def test_the_last_of_many_slots_before_a_long_pause(zone: str) -> None:
    cron = Cron("* * * * MON", zone)
    slot = cron.before(at("2026-11-25T12:00"))  # a Wednesday
    assert slot == cron.after(slot - dt.timedelta(seconds=1))
    assert cron.after(slot) > at("2026-11-25T12:00")


def test_seldom_slots_are_found() -> None:
    assert Cron("0 0 29 2 *", "UTC").after(at("2026-01-01T00:00")) == at("2028-02-29T00:00")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "@daily",
        "0 0 30 2 *",
        "R * * * *",
        "H * * * *",
        "x y z a b",
        "0 7 * * MONDAYS",
        "0; DROP",
        "é * * * *",
        "5-1/0 * * * *",
    ],
)
def test_a_bad_expression_is_named(expression: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        Cron(expression, "UTC")
    assert refused.value.parameter == "cron"


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe"])
def test_a_bad_zone_is_named(zone: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        Cron("0 7 * * *", zone)
    assert refused.value.parameter == "time_zone"
