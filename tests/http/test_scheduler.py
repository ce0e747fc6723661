"""Schedules in processes of their own, some of which are killed: each slot has one report."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service

DAY = 86_400
DAILY = {"name": "Daily", "cron": "0 7 * * *", "settings": {"algorithm": "kmeans"}}
PATIENCE = 90.0
Start = Callable[..., Service]


@pytest.fixture(params=["sqlite", "postgres"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    told = {"EMOSEEK_TEST_CLOCK": "1"}
    if request.param == "postgres":
        told["EMOSEEK_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return told


@pytest.fixture
def beside() -> Iterator[Callable[[Service], subprocess.Popen[bytes]]]:
    """Starts processes that only schedule, on a service's database."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(service: Service, **environment: str) -> subprocess.Popen[bytes]:
        with service.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.emoseek", "schedules"],
                cwd=service.directory,
                env=service.environment | environment,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)


def until(check: Callable[[], Any], service: Service) -> Any:
    give_up = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < give_up, service.log.read_text()
        time.sleep(0.1)
    return found


def ahead(directory: Path, seconds: float) -> None:
    """Set the clock of all processes there."""
    new = directory / "clock.new"
    new.write_text(str(seconds))
    os.replace(new, directory / "clock")


def add(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.http.post(f"{service.url}/api/v1/schedules", json=DAILY | changes)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def reports(service: Service) -> list[dict[str, Any]]:
    """Oldest first."""
    found: list[dict[str, Any]] = service.get("/reports").json()["reports"]
    return found[::-1]


def done(service: Service, count: int) -> list[dict[str, Any]]:
    def check() -> list[dict[str, Any]]:
        found = reports(service)
        ended = [one for one in found if one["state"] in ("done", "failed")]
        return found if len(ended) >= count and len(ended) == len(found) else []

    found: list[dict[str, Any]] = until(check, service)
    return found


def slots(schedule: dict[str, Any], count: int) -> list[str]:
    first = dt.datetime.fromisoformat(schedule["next_run"])
    return [(first + dt.timedelta(days=n)).isoformat() for n in range(count)]


def told_slots(found: list[dict[str, Any]]) -> list[str]:
    return [dt.datetime.fromisoformat(one["slot"]).isoformat() for one in found]


def settled(service: Service) -> list[dict[str, Any]]:
    """What there is when the schedulers have looked some times more."""
    time.sleep(3.0)
    return reports(service)


def test_a_clock_that_moves_over_three_slots_makes_three_reports(
    start: Start, environment: dict[str, str]
) -> None:
    service = start(**environment)
    schedule = add(service)
    ahead(service.directory, 3 * DAY)
    found = done(service, 3)
    assert told_slots(found) == slots(schedule, 3)
    assert [one["state"] for one in found] == ["done"] * 3
    assert len(settled(service)) == 3
    told = service.get(f"/schedules/{schedule['id']}").json()
    assert told["last_run"] == found[-1]["slot"]


@pytest.mark.parametrize(
    "point",
    [
        "slot, before it is fired",
        "slot, fired",
        "report, before it ends",
    ],
)
def test_a_process_that_is_killed_costs_no_slot_and_doubles_none(
    start: Start, environment: dict[str, str], point: str
) -> None:
    service = start(**environment, EMOSEEK_TEST_KILL=point)
    schedule = add(service)
    ahead(service.directory, 3 * DAY)
    assert service.process is not None
    assert service.process.wait(timeout=PATIENCE) == -signal.SIGKILL
    service.environment.pop("EMOSEEK_TEST_KILL")
    service.start()
    found = done(service, 3)
    assert told_slots(found) == slots(schedule, 3)
    assert len(settled(service)) == 3


def test_a_report_that_was_being_made_is_gone_on_with(start: Start, audio: Path) -> None:
    service = start(EMOSEEK_TEST_KILL="report, its clusters begun")
    for path in sorted(audio.glob("*voice*"))[:1] * 20:
        service.store(path)
    answer = service.http.post(f"{service.url}/api/v1/reports", json={})
    assert answer.status_code == 202, answer.text
    assert service.process is not None
    assert service.process.wait(timeout=PATIENCE) == -signal.SIGKILL
    service.environment.pop("EMOSEEK_TEST_KILL")
    service.start()
    [report] = done(service, 1)
    runs = service.get("/clusters").json()["runs"]
    assert [run["id"] for run in runs] == [report["cluster_run"]]


def test_slots_that_passed_while_no_process_was_there(
    start: Start, environment: dict[str, str]
) -> None:
    service = start(**environment)
    schedule = add(service)
    service.stop(signal.SIGKILL)
    ahead(service.directory, 3 * DAY)
    service.start()
    assert told_slots(done(service, 3)) == slots(schedule, 3)


def test_processes_that_only_schedule_double_nothing(
    start: Start,
    environment: dict[str, str],
    beside: Callable[..., subprocess.Popen[bytes]],
) -> None:
    service = start(**environment)
    schedule = add(service)
    others = [beside(service) for _ in range(2)]
    until(lambda: service.log.read_text().count("Looking for slots") == 2, service)
    ahead(service.directory, 3 * DAY)
    assert told_slots(done(service, 3)) == slots(schedule, 3)
    assert len(settled(service)) == 3
    assert [process.poll() for process in others] == [None, None]


def test_one_that_only_schedules_goes_on_while_the_service_is_away(
    start: Start,
    environment: dict[str, str],
    beside: Callable[..., subprocess.Popen[bytes]],
) -> None:
    service = start(**environment)
    schedule = add(service)
    service.stop(signal.SIGKILL)
    killed = beside(service, EMOSEEK_TEST_KILL="slot, before it is fired")
    ahead(service.directory, 3 * DAY)
    assert killed.wait(timeout=PATIENCE) == -signal.SIGKILL
    beside(service)
    service.start()
    assert told_slots(done(service, 3)) == slots(schedule, 3)
    assert len(settled(service)) == 3


def test_nothing_is_pickled_and_no_port_is_opened(start: Start) -> None:
    import sqlite3

    service = start(EMOSEEK_TEST_CLOCK="1")
    add(service)
    ahead(service.directory, DAY)
    done(service, 1)
    assert service.process is not None
    listening = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=False).stdout
    own = [line for line in listening.splitlines() if f"pid={service.process.pid}," in line]
    assert len(own) <= 1, own
    with sqlite3.connect(service.data_dir / "emoseek.db") as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        assert "workflow_status" in names
        [inputs] = connection.execute("SELECT inputs FROM workflow_input").fetchone()
        [output] = connection.execute("SELECT output FROM workflow_output").fetchone()
        status = connection.execute("SELECT serialization, status FROM workflow_status").fetchall()
    assert inputs.startswith("{")
    assert output == "true"
    assert status == [("emoseek_json", "SUCCESS")]
