"""Duplicates over HTTP: found when a clip is posted, told, grouped, decided of."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.audio import decode
from app.domain import SAMPLE_RATE, Waveform
from scripts.analysis_benchmark.distortions import DISTORTIONS
from tests.http.test_errors import is_problem
from tests.service import Service


def loaded(path: Path) -> Waveform:
    with path.open("rb") as file:
        [waveform] = decode(file, max_seconds=60).waveforms
        return np.array(waveform)


def flac(waveform: Waveform) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform.clip(-1, 1), SAMPLE_RATE, format="FLAC")
    return file.getvalue()


def post(service: Service, waveform: Waveform, **fields: Any) -> dict[str, Any]:
    answer = service.post_bytes(flac(waveform), "a.flac", **fields)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def decided(service: Service, action: str, *pairs: tuple[int, int]) -> None:
    body = {"pairs": pairs, "action": action}
    answer = service.http.post(f"{service.url}/api/v1/duplicates/decisions", json=body)
    assert answer.status_code == 200, answer.text


def groups(service: Service, **params: Any) -> list[list[int]]:
    """All of them, page by page."""
    found: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        page = service.get("/duplicates", **params, **cursor).json()
        assert "groups" in page, page
        found += [one["clip_ids"] for one in page["groups"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture(scope="module")
def takes(emodb: Path) -> list[Waveform]:
    """A speaker's recordings of one sentence."""
    return [loaded(path) for path in sorted(emodb.glob("08a05*.flac"))]


@pytest.fixture
def service(start: Callable[..., Service]) -> Iterator[Service]:
    return start()


def test_distorted_copies_are_told_at_once(service: Service, takes: list[Waveform]) -> None:
    originals = [post(service, waveform, customer_id="anna") for waveform in takes[:3]]
    assert [told["duplicate_of"] for told in originals] == [None] * 3
    first = originals[0]["clip_id"]
    for distort in DISTORTIONS.values():
        told = post(service, distort(takes[0]))
        assert (told["duplicate_of"], told["duplicate_kind"]) == (first, "same_recording")
        assert service.get(f"/clips/{told['clip_id']}").json()["duplicate_of"] == first
    again = post(service, takes[0])
    assert (again["duplicate_of"], again["duplicate_kind"]) == (first, "same_file")
    found = service.get(f"/clips/{first}/duplicates").json()["duplicates"]
    assert [one["clip_id"] for one in found] == list(range(4, 15))
    assert [one["kind"] for one in found] == ["same_recording"] * 10 + ["same_file"]
    assert found[-1]["similarity"] == 1.0
    assert all(0.42 <= one["similarity"] <= 1 for one in found)
    assert groups(service) == [[1, *range(4, 15)]]
    assert groups(service, kind="same_file") == [[1, 14]]
    assert groups(service, kind="repeat_complaint") == []
    assert groups(service, kind=["same_file", "repeat_complaint"]) == [[1, 14]]
    is_problem(service.get("/duplicates", limit=[1, 2]), 422, "invalid-parameter")
    assert groups(service, customer_id="anna") == groups(service)
    assert groups(service, customer_id="bert") == []


def test_decisions_stay_and_part_groups(service: Service, takes: list[Waveform]) -> None:
    for copy in (takes[0], takes[0], takes[0], takes[1]):
        post(service, copy)
    assert groups(service) == [[1, 2, 3]]
    decided(service, "dismiss", (1, 2))
    decided(service, "confirm", (4, 3))
    for restarted in (False, True):
        if restarted:
            service.stop(signal.SIGKILL)
            service.start()
        for group in groups(service):
            assert not {1, 2} <= set(group)
        assert groups(service, decision="dismiss") == [[1, 2]]
        [confirmed] = groups(service, decision="confirm")
        assert {3, 4} <= set(confirmed)
        assert service.get("/clips/2").json()["duplicate_of"] is None
        told = {one["clip_id"]: one for one in duplicates(service, 3)}
        assert told[4] == {"clip_id": 4, "kind": None, "similarity": None, "decision": "confirm"}
    decided(service, "clear", (1, 2), (3, 4))
    assert groups(service) == [[1, 2, 3]]
    assert service.get("/clips/2").json()["duplicate_of"] == 1


def test_a_deleted_clip_is_no_duplicate(service: Service, takes: list[Waveform]) -> None:
    for copy in (takes[0], DISTORTIONS["20 dB quieter"](takes[0]), takes[0]):
        post(service, copy)
    decided(service, "dismiss", (1, 3))
    assert service.http.delete(f"{service.url}/api/v1/clips/1").status_code == 204
    assert groups(service) == [[2, 3]]
    assert [one["clip_id"] for one in duplicates(service, 3)] == [2]
    assert post(service, takes[0])["duplicate_of"] == 2


def test_copies_posted_at_once_find_each_other(service: Service, takes: list[Waveform]) -> None:
    copies = [DISTORTIONS[name](takes[0]) for name in sorted(DISTORTIONS)]
    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lambda copy: post(service, copy), copies))
    give_up = time.monotonic() + 30
    while groups(service) != [list(range(1, len(copies) + 1))]:
        assert time.monotonic() < give_up, groups(service)
        time.sleep(0.2)


def test_the_best_copy_is_to_be_kept(service: Service, audio: Path) -> None:
    names = ["calm_voice_a.mp3", "calm_voice_a.flac", "calm_voice_a.opus.ogg", "calm_voice_a.flac"]
    for name in names:
        service.store(audio / name)
    [group] = service.get("/duplicates").json()["groups"]
    assert (group["clip_ids"], group["keeper"]) == ([1, 2, 3, 4], 2)
    assert {"clip_ids": [2, 4], "kind": "same_file", "similarity": 1.0, "decision": None} in group[
        "pairs"
    ]


def test_pages(service: Service, takes: list[Waveform]) -> None:
    for waveform in (*takes[:4], *takes[:4]):
        post(service, waveform)
    assert groups(service, limit=1) == groups(service) == [[1, 5], [2, 6], [3, 7], [4, 8]]
    decided(service, "dismiss", (1, 5), (5, 6), (1, 6), (3, 7))
    dismissed = [[1, 5], [1, 6], [3, 7], [5, 6]]
    assert groups(service, decision="dismiss", limit=1) == dismissed
    assert groups(service, decision="dismiss") == dismissed


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pairs": [[1, 1]], "action": "confirm"}, 422),
        ({"pairs": [[1, 99]], "action": "confirm"}, 404),
        ({"pairs": [], "action": "confirm"}, 422),
        ({"pairs": [[1, 2, 3]], "action": "confirm"}, 422),
        ({"pairs": [[0, 1]], "action": "dismiss"}, 422),
        ({"pairs": [[1, 2]], "action": "forget"}, 422),
        ({"pairs": [[1, 2]]}, 422),
    ],
)
def test_decisions_that_cannot_be(service: Service, audio: Path, body: Any, status: int) -> None:
    service.store(audio / "calm_voice_a.flac")
    answer = service.http.post(f"{service.url}/api/v1/duplicates/decisions", json=body)
    is_problem(answer, status, {422: "invalid-parameter", 404: "not-found"}[status])
    assert duplicates(service, 1) == []


def test_what_does_not_exist(service: Service) -> None:
    is_problem(service.get("/clips/1/duplicates"), 404, "not-found")
    is_problem(service.get("/duplicates", kind="twin"), 422, "invalid-parameter")
    for cursor in ("x", "1", f"1-{2**63}"):
        is_problem(service.get("/duplicates", cursor=cursor), 422, "invalid-parameter")
    assert service.get("/duplicates").json() == {"groups": [], "next_cursor": None}


def duplicates(service: Service, clip_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"/clips/{clip_id}/duplicates").json()["duplicates"]
    return found
