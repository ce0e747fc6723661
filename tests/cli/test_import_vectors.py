"""`emoseek import-vectors`: into a running service, and where none runs."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import requests

from app.domain import LABELS
from app.recogniser.check import check
from app.recogniser.model_dir import BUNDLED
from tests.cli.test_cli import run
from tests.service import Service

DIMENSION = check(BUNDLED).dimension
RNG = np.random.default_rng(8)
Start = Callable[..., Service]


def write_npy(path: Path, count: int, dimension: int = DIMENSION) -> np.ndarray:
    vectors = RNG.standard_normal((count, dimension)).astype(np.float32)
    np.save(path, vectors)
    return vectors


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def import_here(
    service: Service, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Import into a stopped service's data directory."""
    environment = {"EMOSEEK_PORT": free_port()} | environment
    return run("import-vectors", *arguments, cwd=service.directory, **environment)


def killed_at(point: str, service: Service, *arguments: str | Path) -> int:
    """The exit status of an import that kills itself at `point`."""
    command = [sys.executable, "-m", "tests.emoseek", "import-vectors", *map(str, arguments)]
    environment = {"EMOSEEK_PORT": free_port(), "EMOSEEK_TEST_KILL": point}
    return subprocess.run(
        command,
        cwd=service.directory,
        env=service.environment | environment,
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode


def check_stored(service: Service, vectors: np.ndarray) -> None:
    """Every vector is stored once, as it was, and found."""
    status = service.get("/status").json()
    assert status["database"]["clips"] == len(vectors)
    assert status["index"]["size"] == status["index"]["expected"] == len(vectors)
    for position in range(0, len(vectors), 1 + len(vectors) // 10):
        found = service.http.post(
            f"{service.url}/api/v1/search?k=1", json={"vector": vectors[position].tolist()}
        ).json()["neighbours"]
        assert found[0]["similarity"] == pytest.approx(1.0, abs=1e-6)
        got = service.get(f"/clips/{found[0]['clip_id']}/embedding").content
        np.testing.assert_array_equal(
            np.frombuffer(got[-4 * DIMENSION :], "<f4"), vectors[position]
        )


def test_into_a_running_service(start: Start, audio: Path) -> None:
    service = start()
    posted = service.store(audio / "sad_voice_c.flac")
    npy, table = service.directory / "v.npy", service.directory / "m.csv"
    vectors = write_npy(npy, 3000).astype(np.float32)
    scores = [0.05, 0.05, 0.1, 0.4, 0.1, 0.1, 0.1, 0.05, 0.05]
    rows = [
        [10 + 2 * i, f"c{i % 7}", "call", "", "2024-05-01T12:00:00+02:00", "a; b", "happy"]
        + (scores if i % 2 else [""] * 9)
        + ["x" if i < 5 else ""]
        for i in range(3000)
    ]
    header = ["id", "customer_id", "call_id", "agent_id", "recorded_at", "tags", "emotion"]
    write_csv(table, [*header, *LABELS, "meta.k"], rows)
    arguments = ("import-vectors", npy, "--meta", table, "--url", service.url)
    done = run(*arguments, cwd=service.directory)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3000 stored, 0 already stored"
    bare, scored = (service.get(f"/clips/{10 + 2 * i}").json() for i in (0, 1))
    assert (bare["emotion"], bare["confidence"], bare["scores"]) == ("happy", None, None)
    assert (bare["duration"], bare["file_sha256"], bare["has_audio"]) == (None, None, False)
    assert (bare["customer_id"], bare["agent_id"]) == ("c0", None)
    assert (bare["tags"], bare["metadata"]) == (["a", "b"], {"k": "x"})
    assert bare["recorded_at"] == "2024-05-01T10:00:00Z"
    assert (bare["indexed"], bare["duplicate_of"]) == (True, None)
    assert (scored["confidence"], scored["scores"]["happy"]) == (0.4, 0.4)
    assert service.get("/clips/count", **{"meta.k": "x"}).json() == {"count": 5}
    near = service.neighbours(10, k=1000, customer_id="c0")
    assert len(near) == 428
    assert posted not in near
    again = run(*arguments, cwd=service.directory)
    assert again.stdout.strip() == "0 stored, 3000 already stored"
    assert service.store(audio / "calm_voice_a.flac") > 10 + 2 * 2999
    listed = run("similar", "10", "--url", service.url, cwd=service.directory)
    assert listed.returncode == 0, listed.stderr
    requests.delete(f"{service.url}/api/v1/clips", params={"call_id": "call"})
    more = run(*arguments, "--again", cwd=service.directory)
    assert "3000 of the ids are taken, by clips that are or were" in more.stderr
    assert more.returncode == 1
    assert vectors.shape[0] == 3000
    service.stop()
    service.start()
    assert service.get("/status").json()["index"]["size"] == 2


def test_where_no_service_runs(start: Start) -> None:
    service = start()
    service.stop()
    npy = service.directory / "v.npy"
    vectors = write_npy(npy, 700).astype(np.float16)
    np.save(npy, vectors)
    done = import_here(service, npy)
    assert done.returncode == 0, done.stderr
    assert str(service.data_dir.resolve()) in done.stderr
    service.start()
    check_stored(service, vectors.astype(np.float32))
    assert service.get("/clips").json()["clips"][0]["emotion"] is None


@pytest.mark.parametrize("point", ["third block of an import", "before index add of a block"])
def test_killed_and_run_again(start: Start, point: str) -> None:
    service = start()
    service.stop()
    npy, table = service.directory / "v.npy", service.directory / "m.csv"
    vectors = write_npy(npy, 9000)
    write_csv(table, ["id"], [[i + 1] for i in range(9000)])
    assert killed_at(point, service, npy, "--meta", table) == -signal.SIGKILL
    done = import_here(service, npy, "--meta", table)
    assert done.returncode == 0, done.stderr
    stored, before = (int(word) for word in done.stdout.split() if word.isdecimal())
    assert stored + before == 9000
    assert before > 0
    service.start()
    check_stored(service, vectors)


def test_the_service_is_killed_meanwhile(start: Start) -> None:
    service = start()
    npy = service.directory / "v.npy"
    vectors = write_npy(npy, 9000)
    service.stop()
    service.start(EMOSEEK_TEST_KILL="third block of an import")
    first = run("import-vectors", npy, "--url", service.url, cwd=service.directory)
    assert first.returncode == 1
    assert "No service answers" in first.stderr
    assert service.stop() == -signal.SIGKILL
    service.start()
    done = run("import-vectors", npy, "--url", service.url, cwd=service.directory)
    assert done.returncode == 0, done.stderr
    assert ", 0 already stored" not in done.stdout
    check_stored(service, vectors)


def test_interrupted_and_run_again(start: Start) -> None:
    service = start()
    npy = service.directory / "v.npy"
    vectors = write_npy(npy, 60_000)
    command = [sys.executable, "-m", "app.cli", "import-vectors", npy, "--url", service.url]
    process = subprocess.Popen(
        command, cwd=service.directory, env=service.environment, stdout=subprocess.PIPE, text=True
    )
    give_up = time.monotonic() + 60
    while service.get("/clips/count").json()["count"] < 8_000:  # some blocks were answered
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    stored = int(told.split()[0])
    assert 0 < stored < 60_000
    done = run("import-vectors", npy, "--url", service.url, cwd=service.directory)
    before = int(done.stdout.split()[2])
    # The block under way may have been stored although its answer was not waited for.
    assert stored <= before < 60_000
    assert done.stdout.strip() == f"{60_000 - before} stored, {before} already stored"
    check_stored(service, vectors)


def test_clips_posted_meanwhile_take_no_id(start: Start, audio: Path) -> None:
    service = start()
    npy, table = service.directory / "v.npy", service.directory / "m.csv"
    write_npy(npy, 20_000)
    write_csv(table, ["id"], [[20_000 - i] for i in range(20_000)])
    command = [sys.executable, "-m", "app.cli", "import-vectors", npy, "--meta", table]
    environment = service.environment | {"EMOSEEK_PORT": str(service.port)}
    process = subprocess.Popen(command, cwd=service.directory, env=environment)
    give_up = time.monotonic() + 60
    while service.get("/clips/count").json()["count"] == 0:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    while_importing = process.poll() is None
    assert service.store(audio / "sad_voice_c.flac") == 20_001
    assert while_importing
    assert process.wait(timeout=60) == 0
    assert service.get("/clips/count").json()["count"] == 20_001


def refused(service: Service, npy: Path, table: Path | None = None, *more: str) -> str:
    """What is said of a file of which nothing may be stored."""
    before = service.get("/clips/count").json()
    arguments = [npy, *(("--meta", table) if table else ()), "--url", service.url, *more]
    done = run("import-vectors", *arguments, cwd=service.directory)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert service.get("/clips/count").json() == before
    return done.stderr


def test_refusals_store_nothing(start: Start, audio: Path) -> None:
    service = start()
    posted = service.store(audio / "sad_voice_c.flac")
    npy, table = service.directory / "v.npy", service.directory / "m.csv"
    write_npy(npy, 3)
    write_csv(table, ["id"], [[77], [posted], [79]])
    assert f"or were: {posted}. Nothing was stored" in refused(service, npy, table)
    write_csv(table, ["id"], [[77], [78], [77]])
    assert "id 77 is there twice" in refused(service, npy, table)
    assert "No clips here are by a model 'other'" in refused(service, npy, None, "--model", "other")
    write_npy(npy, 3, DIMENSION + 1)
    assert f"{DIMENSION + 1} numbers" in refused(service, npy)
    # The ids of refused files were not used up.
    assert service.store(audio / "calm_voice_a.flac") == posted + 1
    elsewhere = import_here(service, npy)
    assert elsewhere.returncode == 1
    assert "--url" in elsewhere.stderr


def test_small_uploads_and_a_key(start: Start) -> None:
    service = start(EMOSEEK_MAX_UPLOAD_MB="0.5", EMOSEEK_API_KEY="secret-key")
    npy = service.directory / "v.npy"
    vectors = write_npy(npy, 4000)
    done = run("import-vectors", npy, "--url", service.url, cwd=service.directory)
    assert "EMOSEEK_API_KEY" in done.stderr
    environment = {"EMOSEEK_API_KEY": "secret-key"}
    done = run("import-vectors", npy, "--url", service.url, cwd=service.directory, **environment)
    assert done.returncode == 0, done.stderr
    check_stored(service, vectors)


def test_into_the_space_of_another_model(start: Start, tmp_path: Path, audio: Path) -> None:
    service = start()
    service.store(audio / "sad_voice_c.flac")
    first = service.get("/status").json()["model"]["digest"]
    service.stop()
    service.start(EMOSEEK_DTYPE="int8", EMOSEEK_ALLOW_MODEL_CHANGE="true")
    assert service.get("/status").json()["model"]["digest"] != first
    npy = service.directory / "v.npy"
    write_npy(npy, 5)
    arguments = ("import-vectors", npy, "--url", service.url)
    done = run(*arguments, "--model", first[:12], cwd=service.directory)
    assert done.returncode == 0, done.stderr
    assert service.get("/status").json()["index"]["size"] == 0
    assert service.get("/clips/2").json()["model"]["digest"] == first
    both = run(*arguments, "--model", "test/none", cwd=service.directory)
    assert both.returncode == 1
    service.stop()
    service.start(EMOSEEK_DTYPE="fp32", EMOSEEK_ALLOW_MODEL_CHANGE="true")
    assert service.get("/status").json()["index"]["size"] == 6
