"""Clusters over HTTP: asked for, followed, read page by page, refused, killed, deleted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests

from app.domain import LABELS
from tests.cli.test_import_vectors import DIMENSION
from tests.http.test_errors import is_problem
from tests.http.test_imports import Import
from tests.service import Service

Start = Callable[..., Service]
CLIPS = 90


def fill(service: Service, agent: str) -> list[int]:
    """Import clips in three groups, of this agent; returns their ids."""
    random = np.random.default_rng(3)
    groups = random.integers(3, size=CLIPS)
    vectors = random.standard_normal((3, DIMENSION))[groups] * 3
    vectors = (vectors + random.standard_normal((CLIPS, DIMENSION))).astype("<f4")
    rows = []
    for number, group in enumerate(groups.tolist()):
        scores = [0.9 if place == group else 0.0125 for place in range(9)]
        rows.append(
            {
                "agent_id": agent,
                "customer_id": f"{agent} {number % 4}",
                "recorded_at": f"2024-05-{1 + number % 28:02}T12:00:00Z",
                "scores": dict(zip(LABELS, scores, strict=True)),
            }
        )
    one = Import(service, CLIPS)
    assert one.send(0, vectors, rows).status_code == 200
    found = service.get("/clips", agent_id=agent, limit=1000).json()["clips"]
    assert len(found) == CLIPS
    return sorted(clip["clip_id"] for clip in found)


def begin(service: Service, **wanted: Any) -> requests.Response:
    return service.http.post(f"{service.url}/api/v1/clusters", json=wanted)


def finished(service: Service, run_id: int) -> dict[str, Any]:
    give_up = time.monotonic() + 90
    while (told := service.get(f"/clusters/{run_id}").json())["finished"] is None:
        assert time.monotonic() < give_up, told
        time.sleep(0.05)
    answer: dict[str, Any] = told
    return answer


def members(service: Service, run_id: int, cluster: int) -> list[int]:
    found: list[int] = []
    cursor = None
    while True:
        page = service.get(
            f"/clusters/{run_id}/members", cluster=cluster, limit=13, cursor=cursor
        ).json()
        found += page["clip_ids"]
        if (cursor := page["next_cursor"]) is None:
            return found


def test_clips_are_grouped_and_told_of(service: Service) -> None:
    ids = fill(service, "grouped")
    answer = begin(service, filters={"agent_id": "grouped"}, seed=4)
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    assert (begun["state"], begun["algorithm"], begun["finished"]) == ("queued", "hdbscan", None)
    done = finished(service, begun["id"])
    assert (done["state"], done["step"], done["filters"]) == ("done", None, {"agent_id": "grouped"})
    assert done["whole"]["clips"] == CLIPS
    assert done["whole"]["silhouette"] > 0.5
    assert done["events"] is None
    assert [cluster["dominant_emotion"] for cluster in done["clusters"]] == [
        cluster["name"] for cluster in done["clusters"]
    ]
    assert {cluster["name"] for cluster in done["clusters"]} == {"angry", "disgusted", "fearful"}
    for cluster in done["clusters"]:
        assert cluster["agents"] == [
            {"id": "grouped", "clips": cluster["size"], "share": 1.0, "lift": 1.0}
        ]
        assert cluster["medoid"] == cluster["representatives"][0]
        assert cluster["trend"]["first_week"] == "2024-04-29"
        assert sum(cluster["trend"]["clips"]) == cluster["size"]
        assert cluster["mean_confidence"] == pytest.approx(0.9)
    everyone = {n: members(service, begun["id"], n) for n in range(-1, len(done["clusters"]))}
    assert sorted(i for some in everyone.values() for i in some) == ids
    points = service.get(f"/clusters/{begun['id']}/map", limit=50).json()
    assert points["clip_ids"] == ids[:50]
    rest = service.get(f"/clusters/{begun['id']}/map", cursor=points["next_cursor"]).json()
    assert rest["clip_ids"] == ids[50:]
    assert rest["next_cursor"] is None
    assert {len(rest[name]) for name in ("x", "y", "clusters", "emotions")} == {CLIPS - 50}
    for clip_id, cluster in zip(rest["clip_ids"], rest["clusters"], strict=True):
        assert clip_id in everyone[cluster]

    gone = done["clusters"][0]["medoid"]
    assert service.http.delete(f"{service.url}/api/v1/clips/{gone}").status_code == 204
    told = service.get(f"/clusters/{begun['id']}")
    assert gone not in told.json()["clusters"][0]["representatives"]
    assert told.json()["clusters"][0]["medoid"] == done["clusters"][0]["representatives"][1]
    assert gone not in members(service, begun["id"], 0)
    assert gone not in service.get(f"/clusters/{begun['id']}/map").json()["clip_ids"]

    answer = begin(
        service,
        algorithm="kmeans",
        n_clusters=3,
        filters={"agent_id": "grouped"},
        previous=begun["id"],
    )
    after = finished(service, answer.json()["id"])
    assert after["events"] == []
    assert {cluster["name"]: cluster["lasting_id"] for cluster in after["clusters"]} == {
        cluster["name"]: cluster["lasting_id"] for cluster in done["clusters"]
    }
    listed = service.get("/clusters", limit=1).json()
    assert [run["id"] for run in listed["runs"]] == [after["id"]]
    listed = service.get("/clusters", cursor=listed["next_cursor"]).json()
    assert begun["id"] in [run["id"] for run in listed["runs"]]
    for run_id in (begun["id"], after["id"]):
        url = f"{service.url}/api/v1/clusters/{run_id}"
        assert service.http.delete(url).status_code == 204
        is_problem(service.http.delete(url), 404, "not-found")
        is_problem(service.get(f"/clusters/{run_id}"), 404, "not-found")


def test_too_few_clips_are_told(service: Service) -> None:
    run_id = begin(service, filters={"customer_id": "nobody at all"}).json()["id"]
    failed = finished(service, run_id)
    assert (failed["state"], failed["clusters"], failed["whole"]) == ("failed", None, None)
    assert failed["message"] == "0 clips with embeddings match; at least 20 are needed."
    for path in (f"/clusters/{run_id}/members?cluster=0", f"/clusters/{run_id}/map"):
        is_problem(service.get(path), 409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        {"algorithm": "spectral"},
        {"algorithm": "kmeans", "n_clusters": 1},
        {"algorithm": "kmeans", "n_clusters": 201},
        {"algorithm": "hdbscan", "n_clusters": 5},
        {"seed": -1},
        {"seed": 2**31},
        {"clusters": 4},
        {"filters": {"customer": "c"}},
        {"filters": {"emotion": "cross"}},
        {"filters": {"emotion": ["sad", 3]}},
        {"filters": {"since": "2024-05-01T12:00:00"}},
        {"filters": {"min_confidence": 1.5}},
        {"filters": {"meta.k": 3}},
        {"filters": {"meta.k\0": "v"}},
        {"filters": {"customer_id": "\0"}},
        {"filters": {f"meta.{n}": "v" for n in range(51)}},
        {"filters": []},
        {"previous": 999_999},
        {"previous": 0},
        [],
    ],
)
def test_what_is_refused(service: Service, body: Any) -> None:
    before = service.get("/clusters").json()
    answer = service.http.post(f"{service.url}/api/v1/clusters", json=body)
    is_problem(answer, 422, "invalid-parameter")
    assert service.get("/clusters").json() == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/clusters/999999", 404),
        ("/clusters/999999/map", 404),
        ("/clusters/999999/members?cluster=0", 404),
        ("/clusters/0", 422),
        ("/clusters/one", 422),
        ("/clusters?cursor=x", 422),
        ("/clusters?limit=0", 422),
        ("/clusters/1/members", 422),
        ("/clusters/1/members?cluster=-2", 422),
    ],
)
def test_paths_that_are_refused(service: Service, path: str, status: int) -> None:
    kind = {404: "not-found", 422: "invalid-parameter"}[status]
    is_problem(service.get(path), status, kind)


def test_filters_of_all_kinds_are_taken(service: Service) -> None:
    filters = {
        "emotion": "sad",
        "min_confidence": 0.5,
        "tag": ["a", "b"],
        "since": "2024-05-01T12:00:00+02:00",
        "meta.shift": "night",
    }
    answer = begin(service, filters=filters)
    assert answer.status_code == 202, answer.text
    told = answer.json()["filters"]
    assert told == filters | {"emotion": ["sad"], "since": "2024-05-01T10:00:00+00:00"}
    assert finished(service, answer.json()["id"])["state"] == "failed"


def test_kill_9_is_no_end_of_it_and_a_deletion_is(start: Start) -> None:
    service = start(EMOSEEK_TEST_KILL="cluster run waits")
    hold, held = service.directory / "hold", service.directory / "held"
    hold.touch()
    fill(service, "a")
    run_id, waiting = (begin(service, algorithm="kmeans").json()["id"] for _ in range(2))

    def wait_until_held() -> None:
        give_up = time.monotonic() + 90
        while not held.exists():
            assert time.monotonic() < give_up
            time.sleep(0.02)

    wait_until_held()
    at_work = service.get(f"/clusters/{run_id}").json()
    assert (at_work["state"], at_work["step"]) == ("running", "writing")
    assert (at_work["done"], at_work["total"]) == (CLIPS, CLIPS)
    assert service.get(f"/clusters/{waiting}").json()["state"] == "queued"
    service.stop(signal.SIGKILL)
    held.unlink()
    service.start()
    wait_until_held()
    url = f"{service.url}/api/v1/clusters"
    assert service.http.delete(f"{url}/{waiting}").status_code == 204
    hold.unlink()
    done = finished(service, run_id)
    assert (done["state"], done["whole"]["clips"]) == ("done", CLIPS)
    assert [run["id"] for run in service.get("/clusters").json()["runs"]] == [run_id]
    hold.touch()
    held.unlink()
    last = begin(service, algorithm="kmeans").json()["id"]
    wait_until_held()
    assert service.http.delete(f"{url}/{last}").status_code == 204
    service.stop()
    assert "Traceback" not in service.log.read_text()
