"""Classifiers over HTTP, on both databases: trained, applied, killed, asked, deleted."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests

from tests.http.test_errors import is_problem, pcm
from tests.service import Service

CUSTOMERS = 6


def import_clips(service: Service, count: int) -> list[int]:
    """Ids of clips of CUSTOMERS customers; those with odd places sound cross."""
    dimension = service.get("/status").json()["model"]["dimension"]
    vectors = np.random.default_rng(count).standard_normal((count, dimension))
    vectors[1::2, :64] += 2
    key = hashlib.sha256(vectors.tobytes()).hexdigest()
    url = f"{service.url}/api/v1/admin/imports/{key}"
    begun = service.http.put(url, json={"rows": count, "dimension": dimension})
    assert begun.status_code == 200, begun.text
    highest = max([0, *(clip["clip_id"] for clip in stored(service))])
    rows = [
        {"customer_id": f"c{i // 2 % CUSTOMERS}", "agent_id": f"a{i % 3}"} for i in range(count)
    ]
    added = service.http.post(
        f"{url}/rows?first=0",
        files={"vectors": vectors.astype("<f4").tobytes(), "rows": json.dumps(rows).encode()},
    )
    assert added.status_code == 200, added.text
    return sorted(clip["clip_id"] for clip in stored(service) if clip["clip_id"] > highest)


def stored(service: Service) -> list[dict[str, Any]]:
    clips: list[dict[str, Any]] = service.get("/clips", limit=1000).json()["clips"]
    return clips


def labels(clip_ids: list[int]) -> list[dict[str, Any]]:
    return [
        {"clip_id": clip_id, "label": ("calm", "cross")[place % 2]}
        for place, clip_id in enumerate(clip_ids)
    ]


def train(service: Service, clip_ids: list[int], name: str = "mood", **more: Any) -> Any:
    body = {"name": name, "labels": labels(clip_ids), **more}
    return service.http.post(f"{service.url}/api/v1/classifiers", json=body)


def apply(service: Service, classifier_id: int, path: str = "") -> requests.Response:
    return service.http.post(f"{service.url}/api/v1/classifiers/{classifier_id}/apply{path}")


def finished(service: Service, classifier_id: int) -> dict[str, Any]:
    give_up = time.monotonic() + 60
    while (told := service.get(f"/classifiers/{classifier_id}/apply").json())["finished"] is None:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return dict(told)


def pages(service: Service, classifier_id: int, **params: Any) -> list[dict[str, Any]]:
    """All scores, some a page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = service.get(f"/classifiers/{classifier_id}/scores", limit=7, **params, **cursor)
        assert answer.status_code == 200, answer.text
        found += answer.json()["scores"]
        if (following := answer.json()["next_cursor"]) is None:
            return found
        cursor = {"cursor": following}


@pytest.fixture(params=["sqlite", "postgres"])
def own(request: pytest.FixtureRequest, start: Callable[..., Service]) -> Service:
    """A service of the test's own that dies in the third block of an apply."""
    environment = {"EMOSEEK_TEST_KILL": "third block of an apply"}
    if request.param == "postgres":
        environment["EMOSEEK_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return start(**environment)


def test_trained_killed_applied_asked_deleted(own: Service) -> None:
    service = own
    ids = import_clips(service, 48)
    trained = train(service, ids)
    assert trained.status_code == 201, trained.text
    one = trained.json()
    assert (one["state"], one["labels"], one["apply"]) == (
        "trained",
        {"calm": 24, "cross": 24},
        None,
    )
    quality = one["quality"]
    assert quality["groups"] == CUSTOMERS
    assert quality["roc_auc"]["low"] <= quality["roc_auc"]["value"] <= quality["roc_auc"]["high"]
    assert sum(map(sum, (row.values() for row in quality["confusion"].values()))) == 48
    answer = service.post_bytes(pcm(0.3)).json()
    said = answer["classifiers"]["mood"]
    assert said["label"] in ("calm", "cross")
    assert service.get(f"/clips/{answer['clip_id']}").json()["classifiers"] == {"mood": said}
    assert service.get(f"/clips/{ids[0]}").json()["classifiers"] == {}

    is_problem(service.get(f"/classifiers/{one['id']}/apply"), 404, "not-found")
    begun = apply(service, one["id"])
    assert begun.status_code == 202, begun.text
    assert (begun.json()["state"], begun.json()["total"]) == ("running", 48)
    assert service.process is not None
    assert service.process.wait(60) == -signal.SIGKILL
    service.start(EMOSEEK_TEST_KILL="")
    done = finished(service, one["id"])
    assert (done["state"], done["done"], done["total"]) == ("done", 48, 48)
    assert sum(done["counts"].values()) == 48
    is_problem(apply(service, one["id"], "/stop"), 409, "conflict")

    every = pages(service, one["id"])
    assert sorted(score["clip_id"] for score in every) == [*ids, answer["clip_id"]]
    cross = pages(service, one["id"], label="cross")
    assert len(cross) == 49
    for found in (every, cross):
        probabilities = [score["probability"] for score in found]
        assert probabilities == sorted(probabilities, reverse=True)
    sure = pages(service, one["id"], label="cross", min_probability=0.5, agent_id="a1")
    assert [score["clip_id"] for score in sure] == [
        score["clip_id"]
        for score in cross
        if score["probability"] >= 0.5 and score["agent_id"] == "a1"
    ]
    assert sure
    for score in every[:10]:
        told = service.get(f"/clips/{score['clip_id']}").json()["classifiers"]["mood"]
        assert told == {"label": score["label"], "probability": score["probability"]}

    url = f"{service.url}/api/v1"
    assert service.http.delete(f"{url}/clips/{ids[0]}").status_code == 204
    assert ids[0] not in [score["clip_id"] for score in pages(service, one["id"])]
    [listed] = service.get("/classifiers").json()["classifiers"]
    assert listed == service.get(f"/classifiers/{one['id']}").json()
    assert listed["labels"] == {"calm": 23, "cross": 24}
    assert listed["apply"] == done
    assert service.http.delete(f"{url}/classifiers/{one['id']}").status_code == 204
    is_problem(service.http.delete(f"{url}/classifiers/{one['id']}"), 404, "not-found")
    is_problem(service.get(f"/classifiers/{one['id']}/scores"), 404, "not-found")
    assert service.get("/classifiers").json() == {"classifiers": []}
    assert service.get(f"/clips/{ids[1]}").json()["classifiers"] == {}
    assert service.post_bytes(pcm(0.3)).json()["classifiers"] == {}


def test_what_is_refused(service: Service) -> None:
    ids = import_clips(service, 12)
    one = train(service, ids, "refusals").json()
    try:
        assert "'refusals'" in is_problem(train(service, ids, "refusals"), 409, "conflict")
        url = f"{service.url}/api/v1/classifiers"
        for body, words in (
            ({"name": "n", "labels": labels([*ids, 10**9])}, "no clips 1000000000"),
            ({"name": "n", "labels": labels([*ids, ids[0]])}, "more than once"),
            ({"name": "n", "labels": labels(ids)[::2]}, "all 'calm'"),
            ({"name": "n", "labels": labels(ids)[:1]}, "labels"),
            ({"name": "", "labels": labels(ids)}, "name"),
            ({"name": "n", "labels": [{"clip_id": "7", "label": "x"}] * 3}, "clip_id"),
            ({"name": "n", "labels": labels(ids), "filters": {"emotions": ["sad"]}}, "emotions"),
            ({"name": "n", "labels": labels(ids), "filters": {"tag": ["none"]}}, "filters"),
            ({"name": "n", "labels": labels(ids), "more": 1}, "more"),
        ):
            assert words in is_problem(service.http.post(url, json=body), 422, "invalid-parameter")
        scores = f"/classifiers/{one['id']}/scores"
        for params, words in (
            ({"label": "angry"}, "'calm', 'cross'"),
            ({"min_probability": 2}, "min_probability"),
            ({"cursor": "7"}, "cursor"),
            ({"cursor": "0.5:99999999999999999999"}, "cursor"),
            ({"cursor": "0.5.5:7"}, "cursor"),
            ({"emotoin": "sad"}, "emotoin"),
        ):
            told = is_problem(service.get(scores, **params), 422, "invalid-parameter")
            assert words in told
        assert service.get(scores, cursor="0.5:7").json() == {"scores": [], "next_cursor": None}
        for path in ("", "/apply", "/scores"):
            is_problem(service.get(f"/classifiers/999999{path}"), 404, "not-found")
        is_problem(apply(service, 999_999), 404, "not-found")
        assert [found["name"] for found in service.get("/classifiers").json()["classifiers"]] == [
            "refusals"
        ]
    finally:
        service.http.delete(f"{service.url}/api/v1/classifiers/{one['id']}")
