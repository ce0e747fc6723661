"""kill -9 at the worst moments: what was acknowledged is found, and nothing else is."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests

from app.library.recordings import MODEL
from tests.http.test_errors import pcm
from tests.service import Service


def post_forever(service: Service, acknowledged: list[int]) -> None:
    """Posts until the service dies; every answer is an acknowledgement."""
    while True:
        try:
            answer = service.post_bytes(pcm(0.3))
        except requests.RequestException:
            return
        if answer.ok:
            acknowledged.append(answer.json()["clip_id"])


def check(service: Service, acknowledged: list[int]) -> None:
    """Every acknowledged clip is found by similar, and nothing that is not stored."""
    stored = {clip["clip_id"] for clip in service.get("/clips", limit=1000).json()["clips"]}
    assert set(acknowledged) <= stored
    for clip_id in stored:
        assert set(service.neighbours(clip_id, k=1000)) == stored - {clip_id}
        assert service.get(f"/clips/{clip_id}/audio").ok
    index = service.get("/status").json()["index"]
    assert index["size"] == index["expected"] == len(stored)
    kept = {path for path in service.files() if path.startswith("data/audio")}
    assert len(kept) == len(stored)


@pytest.mark.parametrize("point", ["before index add", "before audio is settled"])
def test_between_commit_and_index_add(start: Callable[..., Service], point: str) -> None:
    service = start()
    acknowledged = [service.post_bytes(pcm(0.3)).json()["clip_id"] for _ in range(3)]
    service.stop()
    service.start(EMOSEEK_TEST_KILL=point)
    with pytest.raises(requests.RequestException):
        service.post_bytes(pcm(0.3))
    assert service.stop() == -signal.SIGKILL
    service.start()
    # The clip that was committed without an answer is there too: it is not lost either.
    assert service.get("/clips/count").json() == {"count": 4}
    check(service, acknowledged)


@pytest.mark.parametrize("point", ["index save, half of a file", "index save, replace"])
def test_during_a_save_of_the_index(start: Callable[..., Service], point: str) -> None:
    service = start()
    acknowledged = [service.post_bytes(pcm(0.3)).json()["clip_id"] for _ in range(3)]
    service.stop()
    service.start(EMOSEEK_TEST_KILL=point)
    acknowledged += [service.post_bytes(pcm(0.3)).json()["clip_id"] for _ in range(3)]
    assert service.stop() == -signal.SIGKILL  # a regular stop saves the index, and dies there
    service.start()
    check(service, acknowledged)


def test_at_any_moment(start: Callable[..., Service]) -> None:
    service = start()
    acknowledged: list[int] = []
    for number in range(3):
        threads = [
            threading.Thread(target=post_forever, args=(service, acknowledged)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wanted = len(acknowledged) + 5 + 3 * number
        give_up = time.monotonic() + 60
        while len(acknowledged) < wanted:
            assert time.monotonic() < give_up, service.log.read_text()
            time.sleep(0.01)
        service.stop(signal.SIGKILL)
        for thread in threads:
            thread.join()
        service.start()
        check(service, acknowledged)


def flip_a_bit(snapshot: Path) -> None:
    [largest] = snapshot.glob("directions-*.npy")
    content = bytearray(largest.read_bytes())
    content[-5] ^= 1
    largest.write_bytes(content)


def truncate(snapshot: Path) -> None:
    [largest] = snapshot.glob("directions-*.npy")
    os.truncate(largest, largest.stat().st_size - 100)


def take_anothers(snapshot: Path) -> None:
    """As if it had been made by another model."""
    manifest = snapshot / "manifest.json"
    told = manifest.read_text()
    [digest] = re.findall(r'"([0-9a-f]{64})"', told.partition('"model')[2])[:1]
    manifest.write_text(told.replace(digest, digest[::-1]))


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, take_anothers])
def test_a_damaged_snapshot_is_noticed_and_rebuilt(
    start: Callable[..., Service], damage: Callable[[Path], None]
) -> None:
    service = start()
    acknowledged = [service.post_bytes(pcm(0.3)).json()["clip_id"] for _ in range(3)]
    service.stop()
    other = service.data_dir / "index" / MODEL.digest[:16]
    [snapshot] = set(service.data_dir.glob("index/*")) - {other}
    damage(snapshot)
    service.spawn()
    for clip_id in acknowledged:
        while (answer := asked_while_starting(service, clip_id)) is None:
            time.sleep(0.02)
        assert answer.status_code == 200
        found = {near["clip_id"] for near in answer.json()["neighbours"]}
        assert found == {*acknowledged} - {clip_id}
    assert "The index snapshot is not used" in service.log.read_text()
    check(service, acknowledged)


def asked_while_starting(service: Service, clip_id: int) -> requests.Response | None:
    """None while it does not listen yet, or answers 503."""
    assert service.process is not None
    assert service.process.poll() is None, service.log.read_text()
    try:
        answer = service.get(f"/clips/{clip_id}/similar")
    except requests.ConnectionError:
        return None
    return None if answer.status_code == 503 else answer


def test_audio_of_a_clip_that_was_not_committed_is_removed(start: Callable[..., Service]) -> None:
    service = start()
    service.post_bytes(pcm(0.3))
    service.stop()
    kept = next(service.data_dir.glob("audio/*/*.flac"))
    stray = kept.parents[1] / "ab" / ("ab" * 16 + ".flac.new")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    foreign = kept.with_name("notes.txt")
    foreign.write_bytes(b"x")
    service.start()
    assert kept.exists()
    assert foreign.exists()
    assert not stray.exists()


def test_files_of_a_deleted_clip_go_after_a_crash(start: Callable[..., Service]) -> None:
    service = start(EMOSEEK_TEST_KILL="before files of a deleted clip are removed")
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    assert len(service.files()) == 3
    with pytest.raises(requests.RequestException):
        requests.delete(f"{service.url}/api/v1/clips/{clip_id}")
    assert service.stop() == -signal.SIGKILL
    assert len(service.files()) == 3
    service.start(EMOSEEK_TEST_KILL="")
    assert service.files() == set()
    assert service.get("/clips/count").json() == {"count": 0}


def test_files_that_cannot_be_removed_are_told_and_tried_again(
    start: Callable[..., Service],
) -> None:
    service = start(EMOSEEK_TEST_KILL="files cannot be removed")
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    told = requests.delete(f"{service.url}/api/v1/clips/{clip_id}")
    assert told.status_code == 503
    assert "goes on trying" in told.json()["detail"]
    assert service.get(f"/clips/{clip_id}").status_code == 404
    assert len(service.files()) > 0
    service.stop()
    service.start(EMOSEEK_TEST_KILL="")
    assert service.files() == set()


def test_another_database_is_refused_and_nothing_is_lost(start: Callable[..., Service]) -> None:
    service = start()
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    service.stop()
    files = service.files()
    other = f"sqlite:///{service.directory / 'other.db'}"
    service.spawn(EMOSEEK_DATABASE_URL=other)
    assert service.process is not None
    assert service.process.wait(timeout=60) == 1
    assert "EMOSEEK_DATABASE_URL is not the database" in service.log.read_text()
    assert service.files() == files
    service.start()
    assert service.get(f"/clips/{clip_id}/audio").ok


def test_what_was_deleted_leaves_the_files_of_database_and_index(
    start: Callable[..., Service],
) -> None:
    service = start(EMOSEEK_SNAPSHOT_MINUTES="0.01")
    name = "Rumpelstilzchen"
    gone = service.post_bytes(pcm(0.3), customer_id=name, metadata=f'{{"a": "{name}"}}').json()
    kept = service.post_bytes(pcm(0.3)).json()["clip_id"]

    def holding(what: str) -> list[str]:
        found = []
        for path in service.data_dir.rglob("*"):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # it was replaced
                if what.encode() in path.read_bytes():
                    found.append(path.name)
        return found

    def indexed() -> list[int]:
        for path in service.data_dir.glob("index/*/ids-*.npy"):
            with contextlib.suppress(FileNotFoundError):
                ids: list[int] = np.load(path).tolist()
                return ids
        return []

    def wait_for(condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < give_up
            time.sleep(0.1)

    assert holding(name)
    wait_for(lambda: sorted(indexed()) == [gone["clip_id"], kept])
    assert requests.delete(f"{service.url}/api/v1/clips/{gone['clip_id']}").status_code == 204
    wait_for(lambda: indexed() == [kept] and not holding(name))
    assert service.get(f"/clips/{kept}").ok


def test_old_results_go_and_the_index_is_saved_by_itself(start: Callable[..., Service]) -> None:
    service = start(EMOSEEK_SNAPSHOT_MINUTES="0.01", EMOSEEK_OUTPUTS_MAX_AGE_HOURS="0.0003")
    service.post_bytes(pcm(0.3))
    give_up = time.monotonic() + 30
    while any(service.outputs_dir.iterdir()) or not list(
        service.data_dir.glob("index/*/manifest.json")
    ):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    service.stop(signal.SIGKILL)
    service.start()
    check(service, [1])


def test_a_stop_answers_everybody(start: Callable[..., Service]) -> None:
    """Who is heard gets an answer, who waits is told to come back; nothing else happens."""
    service = start(EMOSEEK_MAX_CONCURRENCY="1")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        posts = [pool.submit(service.post_bytes, pcm(30)) for _ in range(16)]
        give_up = time.monotonic() + 60
        while service.get("/status").json()["requests"]["total"] < 16:
            assert time.monotonic() < give_up
        service.stop()
    answers = [post.result() for post in posts]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert any(answer.status_code == 503 for answer in answers)
    acknowledged = [answer.json()["clip_id"] for answer in answers if answer.ok]
    service.start()
    assert service.get("/clips/count").json() == {"count": len(acknowledged)}
    check(service, acknowledged)


def test_a_data_directory_has_one_owner(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start()
    second = Service(tmp_path)
    second.log = tmp_path / "second log"
    second.spawn()
    assert second.stop(signal.SIGCONT) == 1
    assert service.process is not None
    assert f"in use by process {service.process.pid}" in second.log.read_text()
    assert service.get("/status").ok
