"""`python scripts/reindex.py`, with a running service and without one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.test_import_vectors import free_port
from tests.conftest import ROOT
from tests.http.test_crash import check
from tests.http.test_errors import pcm
from tests.http.test_reembedding import BUNDLED, Held, some_clips
from tests.http.test_reindex import HeldRebuild, Start, finished, latest
from tests.second_model import NAME, place_second_model
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


def test_another_model_and_back_in_a_running_service(start: Start) -> None:
    service = start()
    clip_ids = some_clips(service)
    second = place_second_model(service)
    service_at = ("--url", service.url)
    status, out, err = run(service, "--model", NAME, *service_at)
    assert status == 0, err
    assert f"{second} is the active model now: 9 clips in its index, 9 heard again" in out
    assert "of the ten nearest neighbours are the same, over 9 clips" in out
    assert "9/9" in err
    status, out, err = run(service, "--rollback", *service_at)
    assert (status, out) == (0, f"{BUNDLED} is the active model now; {second} is beside it.\n"), err
    check(service, clip_ids)
    status, out, err = run(service, "--drop", *service_at)
    assert status == 0, err
    assert "9 embeddings removed" in out
    for again in ("--rollback", "--drop"):
        status, out, err = run(service, again, *service_at)
        assert (status, out) == (1, "")
        assert "No other model is beside the active one" in err
    status, out, err = run(service, "--model", "absent", *service_at)
    assert (status, out) == (1, "")
    assert "There is no directory absent" in err
    check(service, clip_ids)


def test_a_reindex_with_another_model_is_not_followed(start: Start) -> None:
    held = Held(start)
    service = held.service
    place_second_model(service, name="third", size="bundled")
    for other in (["--model", "third"], []):
        status, out, err = run(service, *other, "--url", service.url)
        assert (status, out) == (1, "")
        assert f"Another reindex, {held.begun['id']} (a reembed), is under way" in err
    same = spawn(service, "--model", NAME, "--url", service.url)
    assert same.stderr is not None
    while "Following that one" not in (line := same.stderr.readline()):
        assert line
    held.release()
    out, err = same.communicate(timeout=120)
    assert same.returncode == 0, err


def test_any_directory_where_no_service_runs(start: Start, second_model: Path) -> None:
    service = start()
    clip_ids = some_clips(service)
    service.stop()
    status, out, err = run(service, "--model", str(second_model), EMOSEEK_PORT=free_port())
    assert status == 0, err
    assert f"{second_model} is the active model now: 9 clips" in out
    service.start()
    assert "Set EMOSEEK_MODEL=" in service.log.read_text()  # which is pinned to the one before
    assert service.get("/status").json()["model"]["id"] == str(second_model)
    check(service, clip_ids)
    service.stop()
    status, out, err = run(service, "--rollback", EMOSEEK_PORT=free_port())
    assert (status, out.split()[0]) == (0, BUNDLED), err
    status, out, err = run(service, "--drop", EMOSEEK_PORT=free_port())
    assert status == 0, err
    service.start()
    check(service, clip_ids)


def test_options_that_do_not_go_together(start: Start) -> None:
    service = start()
    status, out, err = run(service, "--model", NAME, "--drop", "--url", service.url)
    assert (status, out) == (2, "")
    assert "--model and --drop do not go together" in err
