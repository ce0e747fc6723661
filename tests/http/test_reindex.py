"""Reindex over HTTP: followed, refused twice, stopped, killed, while the service goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.http.test_crash import check
from tests.http.test_errors import is_problem, pcm
from tests.service import Service

Start = Callable[..., Service]


def reindex(service: Service, path: str = "", **options: Any) -> requests.Response:
    return service.http.post(f"{service.url}/api/v1/admin/reindex{path}", **options)


def latest(service: Service) -> dict[str, Any]:
    told: dict[str, Any] = service.get("/admin/reindex").json()
    return told


def finished(service: Service) -> dict[str, Any]:
    """The latest reindex once it has finished."""
    give_up = time.monotonic() + 60
    while (told := latest(service))["finished"] is None:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return told


class HeldRebuild:
    """A service with some clips, whose reindexes wait after the first block until released."""

    def __init__(self, start: Start) -> None:
        self.service = start(EMOSEEK_TEST_KILL="reindex waits")
        self.clips = [self.service.post_bytes(pcm(0.3)).json()["clip_id"] for _ in range(3)]
        self._hold = self.service.directory / "hold"
        self._hold.touch()

    def release(self) -> None:
        self._hold.unlink()

    def begin(self) -> dict[str, Any]:
        """Begin a reindex and wait until it waits."""
        answer = reindex(self.service)
        assert answer.status_code == 202, answer.text
        give_up = time.monotonic() + 30
        while not (self.service.directory / "held").exists():
            assert time.monotonic() < give_up
            time.sleep(0.01)
        begun: dict[str, Any] = answer.json()
        return begun


def test_the_index_is_built_anew(service: Service) -> None:
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    before = service.get(f"/clips/{clip_id}/similar").json()["index"]["build"]
    answer = reindex(service, json={"model": None})
    assert answer.status_code == 202
    begun = answer.json()
    assert (begun["kind"], begun["state"], begun["finished"]) == ("rebuild", "running", None)
    done = finished(service)
    assert (done["id"], done["state"], done["done"]) == (begun["id"], "done", done["total"])
    assert done["summary"]["build"] > before
    assert done["summary"]["clips"] == service.get("/status").json()["index"]["size"]
    after = service.get(f"/clips/{clip_id}/similar").json()["index"]["build"]
    assert after >= done["summary"]["build"]


def test_what_is_refused(start: Start) -> None:
    service = start(EMOSEEK_API_KEY="long enough")
    is_problem(service.get("/admin/reindex"), 404, "not-found")
    is_problem(reindex(service, "/stop"), 409, "conflict")
    for body in ({"model": 7}, {"modell": None}, []):
        is_problem(reindex(service, json=body), 422, "invalid-parameter")
    for path in ("", "/stop"):
        answer = requests.post(f"{service.url}/api/v1/admin/reindex{path}")
        is_problem(answer, 401, "unauthorised")
    assert service.get("/admin/reindex").status_code == 404


def test_the_service_goes_on_meanwhile_and_no_second_one_begins(start: Start) -> None:
    held = HeldRebuild(start)
    service, begun = held.service, held.begin()
    second = reindex(service)
    assert str(begun["id"]) in is_problem(second, 409, "under-way")
    assert latest(service) == begun
    posted = service.post_bytes(pcm(0.3)).json()
    assert posted["indexed"]
    gone = held.clips.pop()
    assert requests.delete(f"{service.url}/api/v1/clips/{gone}").status_code == 204
    assert service.get(f"/clips/{posted['clip_id']}/similar").json()["index"]["state"] == "building"
    check(service, [*held.clips, posted["clip_id"]])
    held.release()
    assert finished(service)["state"] == "done"
    check(service, [*held.clips, posted["clip_id"]])


def test_it_is_stopped(start: Start) -> None:
    held = HeldRebuild(start)
    service, begun = held.service, held.begin()
    before = service.get(f"/clips/{held.clips[0]}/similar").json()["index"]["build"]
    answer = reindex(service, "/stop")
    assert (answer.status_code, answer.json()["id"]) == (202, begun["id"])
    stopped = finished(service)
    assert (stopped["state"], stopped["summary"]) == ("stopped", None)
    is_problem(reindex(service, "/stop"), 409, "conflict")
    index = service.get(f"/clips/{held.clips[0]}/similar").json()["index"]
    assert (index["build"], index["state"]) == (before, "ready")
    check(service, held.clips)


def test_kill_9_is_no_end_of_it(start: Start) -> None:
    held = HeldRebuild(start)
    service, begun = held.service, held.begin()
    service.stop(signal.SIGKILL)
    held.release()
    service.start()
    done = finished(service)
    assert (done["id"], done["state"]) == (begun["id"], "done")
    assert "began anew" in done["message"]
    check(service, held.clips)


def test_killed_between_the_new_build_and_the_note_of_it(start: Start) -> None:
    service = start(EMOSEEK_TEST_KILL="before a reindex is noted as done")
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    begun = reindex(service).json()
    assert service.process is not None
    assert service.process.wait(60) == -signal.SIGKILL
    service.start(EMOSEEK_TEST_KILL="reindex waits")
    done = finished(service)
    assert (done["id"], done["state"]) == (begun["id"], "done")
    check(service, [clip_id])
