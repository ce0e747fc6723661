"""`python scripts/reindex.py`, with a running service and without one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from tests.cli.test_import_vectors import free_port
from tests.conftest import ROOT
from tests.http.test_crash import check
from tests.http.test_errors import pcm
from tests.http.test_reindex import HeldRebuild, Start, finished, latest
from tests.service import Service


def spawn(service: Service, *options: str, **environment: str) -> subprocess.Popen[str]:
    environment = service.environment | environment
    environment.pop("EMOSEEK_TEST_KILL", None)  # which only tests/emoseek.py understands
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "reindex.py", *options],
        cwd=service.directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(service: Service, *options: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    process = spawn(service, *options, **environment)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_with_a_running_service(start: Start) -> None:
    service = start()
    clip_id = service.post_bytes(pcm(0.3)).json()["clip_id"]
    status, out, err = run(service, "--url", service.url)
    assert status == 0, err
    assert "Reindex 1: done." in out
    assert "(flat): 1 clips, 0 left out" in out
    assert "1/1" in err
    assert latest(service)["state"] == "done"
    check(service, [clip_id])
    status, out, err = run(service, "--url", service.url, "--stop")
    assert (status, out) == (1, "")
    assert "No reindex is under way" in err


def test_an_interrupt_ends_the_following_only(start: Start) -> None:
    held = HeldRebuild(start)
    service, begun = held.service, held.begin()
    process = spawn(service, "--url", service.url)
    assert process.stderr is not None
    while "Following that one" not in (line := process.stderr.readline()):
        assert line
    time.sleep(0.5)
    process.terminate()  # as an interrupt, which a shell may have made it ignore
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "The service goes on with it" in err
    assert latest(service) == begun
    status, out, err = run(service, "--url", service.url, "--stop")
    assert status == 0, err
    assert "Reindex 1: stopped." in out
    assert finished(service)["state"] == "stopped"


def test_where_no_service_runs(start: Start) -> None:
    held = HeldRebuild(start)
    service, begun = held.service, held.begin()
    service.stop(signal.SIGKILL)
    held.release()
    status, out, err = run(service, EMOSEEK_PORT=free_port())
    assert status == 0, err
    assert str(service.data_dir.resolve()) in err
    assert f"Reindex {begun['id']}: done. It was interrupted" in out
    status, out, err = run(service, EMOSEEK_PORT=free_port())
    assert status == 0, err
    assert f"Reindex {begun['id'] + 1}: done." in out
    service.start()
    assert latest(service)["id"] == begun["id"] + 1
    check(service, held.clips)
