"""`emoseek index check` with the service running and stopped."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

from app.library import recordings
from app.library.files import index_directory
from tests.cli.test_cli import run
from tests.cli.test_import_vectors import DIMENSION, free_port, write_npy
from tests.service import Service

Start = Callable[..., Service]


def execute(service: Service, statement: str, *parameters: object) -> None:
    """Change the database behind the service's back."""
    path = service.data_dir / "emoseek.db"
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with connection:
            connection.execute(statement, parameters)


def spoil(service: Service, clip_id: int) -> None:
    bad = np.full(DIMENSION, np.nan, "<f4").tobytes()
    execute(service, "UPDATE embeddings SET vector = ? WHERE clip_id = ?", bad, clip_id)


def check(service: Service, *options: str) -> tuple[int, list[str]]:
    """Exit status of the check and the lines that it prints, in the stopped or running service."""
    running = service.process is not None and service.process.poll() is None
    port = str(service.port) if running else free_port()
    done = run("index", "check", *options, cwd=service.directory, EMOSEEK_PORT=port)
    assert "Traceback" not in done.stderr
    where = service.url if running else str(service.data_dir.resolve())
    assert where in done.stderr
    return done.returncode, done.stdout.splitlines()


def import_some(service: Service, count: int) -> None:
    npy = service.directory / "v.npy"
    write_npy(npy, count)
    done = run("import-vectors", npy, "--again", "--url", service.url, cwd=service.directory)
    assert done.returncode == 0, done.stderr


def test_running_and_stopped(start: Start) -> None:
    service = start(EMOSEEK_TEST_KILL="nothing is audited")  # or it would mend itself at any time
    import_some(service, 50)
    status, lines = check(service)
    assert (status, lines[-1]) == (0, "Clean.")
    assert lines[0] == "50 clips should be in the index."
    execute(service, "DELETE FROM clips WHERE id IN (7, 9)")
    status, lines = check(service)
    assert (status, lines[-1]) == (1, "Not clean.")
    [phantom] = [line for line in lines if line.split()[0] == "phantom"]
    assert phantom.split()[1] == "2"
    assert phantom.endswith(": 7, 9")
    status, lines = check(service, "--repair")
    assert (status, lines[-1]) == (0, "Clean.")
    assert "The index was mended: 0 added, 2 removed, 0 renewed." in lines
    assert len(service.neighbours(1, k=100)) == 47
    service.stop()
    assert check(service)[0] == 0
    execute(service, "DELETE FROM clips WHERE id = 20")
    of_recordings = index_directory(service.data_dir, recordings.MODEL)
    [directory] = set(service.data_dir.glob("index/*")) - {of_recordings}
    [ids] = directory.glob("ids-*.npy")
    content = ids.read_bytes()
    assert check(service)[0] == 1
    assert ids.read_bytes() == content
    ids.write_bytes(content[:-1])
    status, lines = check(service)
    assert status == 1
    assert lines[0].startswith(f"The index cannot be used: {ids.name} has ")
    status, lines = check(service, "--repair")
    assert (status, lines[-1]) == (0, "Clean.")
    assert "The index was built anew: 47 added, 0 removed, 0 renewed." in lines
    service.start()
    assert "The index snapshot is not used" not in service.log.read_text()
    assert check(service)[0] == 0


def test_nothing_to_compare_is_an_error(tmp_path: Path, start: Start) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = run("index", "check", cwd=empty, EMOSEEK_PORT=free_port())
    assert nothing.returncode == 2
    assert "No service answers, and there is no directory data" in nothing.stderr
    assert list(empty.iterdir()) == []
    nowhere = run("index", "check", "--url", f"http://127.0.0.1:{free_port()}", cwd=empty)
    assert nowhere.returncode == 2
    assert "No service answers at" in nowhere.stderr
    service = start()
    elsewhere = run("index", "check", cwd=service.directory, EMOSEEK_PORT=free_port())
    assert elsewhere.returncode == 2
    assert "--url" in elsewhere.stderr
    service.stop()
    shutil.copy(service.data_dir / "emoseek.db", service.directory / "other.db")
    execute(service, "UPDATE database SET id = 'another'")
    other = run("index", "check", cwd=service.directory, EMOSEEK_PORT=free_port())
    assert other.returncode == 2
    assert "EMOSEEK_DATABASE_URL" in other.stderr


def test_one_check_at_a_time_given_up_by_hanging_up_and_by_a_stop(start: Start) -> None:
    service = start(EMOSEEK_TEST_KILL="a difference is never believed")  # so that none ends
    import_some(service, 10)
    spoil(service, 3)

    def post(timeout: float = 60) -> int:
        try:
            url = f"{service.url}/api/v1/admin/index/check"
            return requests.post(url, timeout=timeout).status_code
        except requests.ReadTimeout:
            return 0

    def wait_for(status: int) -> None:
        give_up = time.monotonic() + 60
        while post(2) != status:
            assert time.monotonic() < give_up

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(post, [10, 10])) == [0, 409]
    wait_for(0)  # it hung up, and another check begins

    def begin() -> int:
        while (status := post()) == 409:  # those that hung up may not be over yet
            time.sleep(0.05)
        return status

    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(begin)
        wait_for(409)
        time.sleep(1)
        service.stop()
    assert stopped.result() == 503


def test_a_vector_that_is_not_finite_is_told(start: Start) -> None:
    service = start(EMOSEEK_TEST_KILL="nothing is audited")
    import_some(service, 10)
    spoil(service, 3)
    url = f"{service.url}/api/v1/admin/index/check"
    found = requests.post(url).json()["found"]
    assert not found["clean"]
    assert found["faults"]["not_finite"] == {"count": 1, "clip_ids": [3]}
    assert found["faults"]["phantom"] == {"count": 1, "clip_ids": [3]}
    answer = requests.post(url, params={"repair": True}).json()
    assert answer["repair"] == {"added": 0, "removed": 1, "renewed": 0, "rebuilt": False}
    assert answer["left"]["faults"]["phantom"]["count"] == 0
    assert not answer["left"]["clean"]


def test_beside_imports_and_deletes_nothing_is_found(start: Start, audio: Path) -> None:
    service = start()
    import_some(service, 500)
    stop, problems = threading.Event(), list[BaseException]()

    def change() -> None:
        try:
            while not stop.is_set():
                first = service.store(audio / "calm_voice_a.flac")
                import_some(service, 300)
                for clip_id in range(first, first + 20):
                    requests.delete(f"{service.url}/api/v1/clips/{clip_id}")
        except BaseException as error:
            problems.append(error)

    changing = threading.Thread(target=change)
    changing.start()
    compared = []
    try:
        while len(compared) < 40 or compared[-1] < 1200:
            assert not problems, problems
            answer = requests.post(f"{service.url}/api/v1/admin/index/check", timeout=60).json()
            assert answer["found"]["clean"], answer
            compared.append(answer["found"]["compared"])
    finally:
        stop.set()
        changing.join()
    assert not problems
    assert check(service)[0] == 0
