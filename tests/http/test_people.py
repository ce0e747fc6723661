"""Customers and agents over HTTP: lists by drift, timelines, whatever their ids are."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from app.analysis.drift import evidence_at
from app.domain import LABELS
from tests.cli.test_import_vectors import DIMENSION
from tests.http.test_errors import is_problem
from tests.http.test_imports import Import
from tests.service import Service

WORSE, BETTER, STEADY = "a/b c?", "bert/timeline", "Émile"
SHARES = {WORSE: (0.1, 0.6), BETTER: (0.7, 0.1), STEADY: (0.2, 0.2)}
SECONDS = 60.0


def import_clips(service: Service) -> None:
    """100 clips of each customer, one a day, and one clip of whom little is known."""
    rows: list[dict[str, Any]] = [{"customer_id": "new"}]
    for customer, (before, since) in SHARES.items():
        for day in range(100):
            share = before if day < 60 else since
            rows.append(
                {
                    "customer_id": customer,
                    "agent_id": "x/y",
                    "recorded_at": str(np.datetime64("2024-01-01") + day) + "T12:00:00Z",
                    "emotion": "angry" if (day + 1) * share // 1 > day * share // 1 else "happy",
                }
            )
    vectors = np.random.default_rng(0).standard_normal((len(rows), DIMENSION)).astype("<f4")
    answer = Import(service, len(rows)).send(0, vectors, rows)
    assert answer.status_code == 200, answer.text


def listed(service: Service, people: str = "customers", **params: Any) -> list[dict[str, Any]]:
    """Once the list is up to date."""
    give_up = time.monotonic() + SECONDS
    while True:
        answer = service.get(f"/{people}", **params)
        assert answer.status_code == 200, answer.text
        if answer.json()["up_to_date"]:
            found: list[dict[str, Any]] = answer.json()[people]
            return found
        assert time.monotonic() < give_up
        time.sleep(0.05)


def clip_url(service: Service, clip_id: int) -> str:
    return f"{service.url}/api/v1/clips/{clip_id}"


def timeline(service: Service, id: str, people: str = "customers", **params: Any) -> Any:
    url = f"{service.url}/api/v1/{people}/{requests.utils.quote(id, safe='/')}/timeline"
    return requests.get(url, params=params)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("people")) as service:
        import_clips(service)
        yield service


def test_those_who_moved_most_come_first(imported: Service) -> None:
    found = listed(imported)
    assert {one["id"] for one in found[:2]} == {WORSE, BETTER}
    assert {one["id"] for one in found[2:]} == {STEADY, "new"}
    drift = {one["id"]: one["drift"] for one in found}
    assert drift["new"] is None
    for id, direction in ((WORSE, "worse"), (BETTER, "improved")):
        of = drift[id]
        assert (of["flagged"], of["direction"]) == (True, direction)
        assert of["evidence"] >= evidence_at(0.01)
        assert of["false_alarm_rate"] <= 0.01
        assert (of["before"], of["since"]) == pytest.approx(SHARES[id], abs=0.1)
        assert of["shift"] == of["since"] - of["before"]
        assert of["clips_before"] + of["clips_since"] == 100
        assert "2024-02-25" < of["changed_at"] < "2024-03-06"
    assert not drift[STEADY]["flagged"]
    flagged = listed(imported, flagged="true")
    assert flagged == [one for one in found if one["drift"] and one["drift"]["flagged"]]
    [agent] = listed(imported, "agents")
    assert (agent["id"], agent["clips"], agent["heard"]) == ("x/y", 300, 300)


@pytest.mark.parametrize("sort", ["drift", "negative", "clips"])
def test_pages(imported: Service, sort: str) -> None:
    found, cursor = [], None
    while True:
        page = imported.get("/customers", sort=sort, limit=1, cursor=cursor).json()
        found += page["customers"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == listed(imported, sort=sort)
    assert len(found) == 4
    values = [{"negative": one["level"], "clips": one["clips"]}.get(sort, 0.0) for one in found]
    assert values == sorted(values, reverse=True)


def encoded(*said: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "name"},
        {"limit": 0},
        {"limit": 1001},
        {"flagged": "perhaps"},
        {"cursor": "?"},
        {"cursor": "AAAA"},
        {"cursor": "x" * 5000},
        {"cursor": encoded("clips", 3, "a")},
        {"cursor": encoded("drift", True, "a")},
        {"cursor": encoded("drift", 1, "a")},
        {"cursor": encoded("drift", 1.5, 7)},
        {"cursor": encoded("drift", 1.5, "a\0")},
        {"cursor": encoded("drift", float("nan"), "a")},
        {"cursor": encoded("clips", 10**40, "a"), "sort": "clips"},
        {"cursor": encoded("drift", 1.5)},
        {"cursor": encoded(*[[]] * 3)},
    ],
)
def test_lists_that_are_refused(imported: Service, params: dict[str, Any]) -> None:
    is_problem(imported.get("/customers", **params), 422, "invalid-parameter")


def test_a_timeline(imported: Service) -> None:
    told = timeline(imported, WORSE, span="month").json()
    assert {name: told[name] for name in listed(imported)[0]} == next(
        one for one in listed(imported) if one["id"] == WORSE
    )
    assert told["span"] == "month"
    assert told["baseline"]["concentration"] > 0
    points = told["points"]
    assert [point["start"] for point in points] == [f"2024-0{month}-01" for month in range(1, 5)]
    assert [point["clips"] for point in points] == [31, 29, 31, 9]
    assert points[0]["negative_share"] == pytest.approx(0.1, abs=0.03)
    assert points[3]["negative_share"] == pytest.approx(0.6, abs=0.1)
    assert points[0]["smooth_negative_share"] < points[3]["smooth_negative_share"]
    assert points[3]["smooth_negative_share"] < points[3]["negative_share"]
    assert points[0]["scores"] is None  # the import brought none
    days = timeline(imported, BETTER, span="day", limit=30).json()
    earlier = timeline(imported, BETTER, span="day", limit=90, cursor=days["next_cursor"]).json()
    assert earlier["next_cursor"] is None
    both = [point["start"] for point in earlier["points"] + days["points"]]
    assert both == [str(np.datetime64("2024-01-01") + day) for day in range(100)]
    agent = timeline(imported, "x/y", "agents").json()
    assert sum(point["clips"] for point in agent["points"]) == 300
    assert agent["points"][0]["start"] == "2024-01-01"  # a Monday


@pytest.mark.parametrize(
    ("id", "people", "params", "status"),
    [
        ("nobody", "customers", {}, 404),
        (WORSE, "agents", {}, 404),
        ("x" * 201, "customers", {}, 422),
        (WORSE, "customers", {"span": "year"}, 422),
        (WORSE, "customers", {"half_life": 0}, 422),
        (WORSE, "customers", {"half_life": "nan"}, 422),
        (WORSE, "customers", {"limit": 0}, 422),
        (WORSE, "customers", {"cursor": "2024-13-01"}, 422),
        (WORSE, "customers", {"cursor": "now"}, 422),
    ],
)
def test_timelines_that_are_refused(
    imported: Service, id: str, people: str, params: dict[str, Any], status: int
) -> None:
    is_problem(
        timeline(imported, id, people, **params),
        status,
        "not-found" if status == 404 else "invalid-parameter",
    )


def test_what_is_posted_changed_and_deleted(imported: Service, audio: Path) -> None:
    service, path = imported, audio / "angry_voice_a.flac"
    first, second = (service.store(path, customer_id=id, agent_id="z") for id in ("ann", "ben"))

    def clips_of(people: str, *ids: str) -> dict[str, int]:
        return {one["id"]: one["clips"] for one in listed(service, people) if one["id"] in ids}

    assert clips_of("customers", "ann", "ben") == {"ann": 1, "ben": 1}
    [point] = timeline(service, "ann").json()["points"]
    scores = service.get(f"/clips/{first}").json()["scores"]
    assert point["scores"] == pytest.approx(scores)
    assert list(point["smooth_scores"]) == list(LABELS)
    assert requests.patch(clip_url(service, second), json={"customer_id": "ann"}).ok
    service.stop(signal.SIGKILL)  # most likely before the list has it
    service.start()
    assert clips_of("customers", "ann", "ben") == {"ann": 2}
    assert requests.delete(clip_url(service, first)).ok
    assert clips_of("agents", "z") == {"z": 1}
    assert requests.delete(clip_url(service, second)).ok
    assert clips_of("agents", "z") == clips_of("customers", "ann", "ben") == {}
    is_problem(timeline(service, "ann"), 404, "not-found")
