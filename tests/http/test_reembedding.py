"""Another model by a reindex: all clips heard again, while they are posted, found and deleted."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from app.domain import LABELS
from app.library import recordings
from tests.http.test_crash import check
from tests.http.test_errors import is_problem, pcm
from tests.http.test_reindex import Start, finished, latest, reindex
from tests.second_model import NAME, place_second_model
from tests.service import Service

BUNDLED = "emoseek/bundled"
OF_MODELS = """
    SELECT count(*) FROM embeddings JOIN models ON models.id = embeddings.model_id
    WHERE models.name != ?
"""


def to_other(service: Service) -> dict[str, Any]:
    """Begin to re-embed with the second model."""
    answer = reindex(service, json={"model": NAME})
    assert answer.status_code == 202, answer.text
    begun: dict[str, Any] = answer.json()
    return begun


def done(service: Service) -> dict[str, Any]:
    told = finished(service)
    assert told["state"] == "done", (told, service.log.read_text())
    summary: dict[str, Any] = told["summary"]
    return summary


def model_of(service: Service) -> str:
    model: str = service.get("/status").json()["model"]["id"]
    return model


def scores(service: Service, clip_ids: list[int]) -> dict[int, Any]:
    return {i: service.get(f"/clips/{i}").json() for i in clip_ids}


def check_emotions(service: Service) -> None:
    """Filters go by the scores that are told."""
    clips = service.get("/clips", limit=1000).json()["clips"]
    anchor = clips[0]["clip_id"]
    for label in LABELS:
        named = {clip["clip_id"] for clip in clips if clip["emotion"] == label}
        assert set(service.neighbours(anchor, k=1000, emotion=label)) == named - {anchor}


class Load:
    """Posts, searches and deletions that go on in the background until `stop`."""

    def __init__(self, service: Service, files: list[Path], known: list[int]) -> None:
        self.service = service
        self.posted = list(known)
        self.deleted: list[int] = []
        self.models: list[str] = []  # as searches tell them, one after the other
        self.failed: list[str] = []
        self._files = files
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(one,))
            for one in (self._post, self._search, self._delete)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, ask: Callable[[int], requests.Response]) -> None:
        number = 0
        while not self._stop.wait(0.05):
            answer = ask(number)
            number += 1
            if not answer.ok:
                self.failed.append(f"{answer.status_code} {answer.text}")

    def _post(self, number: int) -> requests.Response:
        answer = self.service.post(self._files[number % len(self._files)])
        if answer.ok:
            self.posted.append(answer.json()["clip_id"])
        return answer

    def _search(self, number: int) -> requests.Response:
        answer = requests.get(f"{self.service.url}/api/v1/clips/{self.posted[0]}/similar")
        if answer.ok:
            self.models.append(answer.json()["model"])
        return answer

    def _delete(self, number: int) -> requests.Response:
        time.sleep(0.2)
        victim = self.posted.pop(1 + number % (len(self.posted) - 1))
        self.deleted.append(victim)
        return requests.delete(f"{self.service.url}/api/v1/clips/{victim}")


def test_the_whole_story(start: Start, emodb: Path) -> None:
    service = start()
    files = sorted(emodb.glob("*.flac"))[:200:5]
    clip_ids = [service.store(path) for path in files[:30]]
    before = scores(service, clip_ids)
    place_second_model(service)
    load = Load(service, files, clip_ids)
    try:
        begun = to_other(service)
        assert (begun["kind"], begun["state"]) == ("reembed", "running")
        summary = done(service)
        time.sleep(0.5)
    finally:
        load.stop()
    assert load.failed == []
    other = summary["model"]
    assert model_of(service) == other != BUNDLED
    assert set(load.models) == {BUNDLED, other}
    assert load.models == sorted(load.models, key=lambda model: model == other)  # one switch
    assert (summary["without_audio"], summary["damaged"]) == (0, 0)
    assert 0 < summary["reembedded"] <= len(load.posted) + len(load.deleted)
    assert summary["changed_emotion"] > 0
    assert 0 <= summary["overlap"] <= 1
    check(service, load.posted)
    check_emotions(service)
    kept = [clip_id for clip_id in clip_ids if clip_id in load.posted]
    after = scores(service, kept)
    assert all(clip["model"]["id"] == other for clip in after.values())

    late = service.store(files[0])
    rolled = reindex(service, "/rollback").json()
    assert (rolled["active"]["id"], rolled["beside"]["id"]) == (BUNDLED, other)
    assert scores(service, kept) == {clip_id: before[clip_id] for clip_id in kept}
    check(service, [*load.posted, late])
    check_emotions(service)
    assert reindex(service, "/rollback").json()["active"]["id"] == other
    assert scores(service, kept) == after
    check(service, [*load.posted, late])

    assert "EMOSEEK_MODEL" in is_problem(reindex(service, "/drop"), 409, "conflict")
    service.stop()
    service.start(EMOSEEK_MODEL="auto")
    assert model_of(service) == other
    assert reindex(service, "/drop").status_code == 202
    assert done(service)["dropped"] >= len(kept)
    is_problem(reindex(service, "/rollback"), 409, "conflict")
    is_problem(reindex(service, "/drop"), 409, "conflict")
    service.stop()
    service.start(EMOSEEK_MODEL="auto")
    check(service, [*load.posted, late])
    assert scores(service, kept) == after


def some_clips(service: Service) -> list[int]:
    return [service.post_bytes(pcm(0.3 + number / 10)).json()["clip_id"] for number in range(9)]


@pytest.mark.parametrize(
    "point",
    ["reembedding, before it hears", "reembedding, third block", "reembedding, switched"],
)
def test_kill_9_is_no_end_of_it(start: Start, point: str) -> None:
    service = start(EMOSEEK_TEST_KILL=point)
    clip_ids = some_clips(service)
    place_second_model(service)
    begun = to_other(service)
    assert service.process is not None
    assert service.process.wait(60) < 0
    service.start(EMOSEEK_TEST_KILL="")
    summary = done(service)
    told = latest(service)
    assert told["id"] == begun["id"]
    assert "went on" in told["message"]
    assert (told["done"], told["total"], summary["clips"]) == (9, 9, 9)
    assert model_of(service) == summary["model"] != BUNDLED
    check(service, clip_ids)
    assert reindex(service, "/rollback").json()["active"]["id"] == BUNDLED
    check(service, clip_ids)


def test_a_drop_that_was_killed_goes_on(start: Start) -> None:
    service = start(EMOSEEK_MODEL="auto", EMOSEEK_HUB="modelscope", **NO_HUB)
    clip_ids = some_clips(service)
    place_second_model(service)
    to_other(service)
    done(service)
    service.stop()
    service.start(EMOSEEK_TEST_KILL="reembedding, third block of a drop")
    reindex(service, "/drop")
    assert service.process is not None
    assert service.process.wait(60) < 0
    service.start()
    assert done(service)["dropped"] == 9
    is_problem(reindex(service, "/rollback"), 409, "conflict")
    check(service, clip_ids)
    assert embeddings(service) == 9


NO_HUB = {"MODELSCOPE_ENDPOINT": "http://127.0.0.1:9"}


def embeddings(service: Service) -> int:
    """By models that recognise."""
    with sqlite3.connect(service.data_dir / "emoseek.db") as database:
        [number] = database.execute(OF_MODELS, (recordings.NAME,)).fetchone()
    database.close()
    return int(number)


class Held:
    """A re-embedding that waits after its first block."""

    def __init__(self, start: Start) -> None:
        self.service = start(EMOSEEK_TEST_KILL="reindex waits")
        self.clip_ids = some_clips(self.service)
        place_second_model(self.service)
        self._hold = self.service.directory / "hold"
        self._hold.touch()
        self.begun = to_other(self.service)
        give_up = time.monotonic() + 60
        while not (self.service.directory / "held").exists():
            assert time.monotonic() < give_up, self.service.log.read_text()
            time.sleep(0.01)

    def release(self) -> None:
        self._hold.unlink()


def test_one_at_a_time(start: Start) -> None:
    held = Held(start)
    service = held.service
    for refused in (
        reindex(service),
        reindex(service, json={"model": "bundled"}),
        reindex(service, "/rollback"),
        reindex(service, "/drop"),
    ):
        assert str(held.begun["id"]) in is_problem(refused, 409, "conflict")
    same = is_problem(reindex(service, json={"model": NAME}), 409, "under-way")
    assert str(held.begun["id"]) in same
    held.release()
    done(service)


def test_stopped_and_asked_for_again(start: Start) -> None:
    held = Held(start)
    service = held.service
    assert reindex(service, "/stop").status_code == 202
    stopped = finished(service)
    assert (stopped["state"], stopped["summary"]) == ("stopped", None)
    assert model_of(service) == BUNDLED
    is_problem(reindex(service, "/rollback"), 409, "conflict")
    held.clip_ids.append(service.post_bytes(pcm(0.5)).json()["clip_id"])
    check(service, held.clip_ids)
    held.release()
    assert to_other(service)["id"] > stopped["id"]
    assert done(service)["clips"] == 10
    check(service, held.clip_ids)


def test_asked_for_again_after_a_rollback(start: Start) -> None:
    service = start()
    clip_ids = some_clips(service)
    place_second_model(service)
    to_other(service)
    done(service)
    reindex(service, "/rollback")
    assert model_of(service) == BUNDLED
    to_other(service)
    assert done(service)["reembedded"] == 0
    assert model_of(service) != BUNDLED
    check(service, clip_ids)
    place_second_model(service, name="third", size="bundled")
    third = reindex(service, json={"model": "third"})
    assert "drop it first" in is_problem(third, 409, "conflict")


def test_killed_while_it_was_to_stop(start: Start) -> None:
    held = Held(start)
    service = held.service
    service.stop(signal.SIGKILL)
    with sqlite3.connect(service.data_dir / "emoseek.db") as database:
        database.execute("UPDATE reindexes SET state = 'stopping'")
    database.close()
    held.release()
    service.start()
    assert finished(service)["state"] == "stopped"
    is_problem(reindex(service, "/rollback"), 409, "conflict")
    check(service, held.clip_ids)
    assert model_of(service) == BUNDLED
