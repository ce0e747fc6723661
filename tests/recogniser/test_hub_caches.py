"""What is served from the hubs' caches while models are downloaded, by us and by others."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import snapshot_download
from modelscope_hub import HubApi

from app.errors import ModelError
from app.recogniser.hubs import HUBS
from app.recogniser.hubs.cache import locked
from app.recogniser.hubs.contract import WANTED_FILES
from app.recogniser.sources import LARGE, Source, cached, find, pull
from tests.conftest import ROOT
from tests.recogniser.hub_server import HubServer, bundled_files, write
from tests.recogniser.test_hubs import emoseek, heavy_files, same

both_hubs = pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
OTHER = {"configuration.json": b'{"new": 1}'}  # what differs in a later revision


def update_as_another_program(hub: str) -> None:
    """Download the large model as FunASR and others do."""
    library = {
        "modelscope": "from modelscope.hub.snapshot_download import snapshot_download;"
        "snapshot_download('iic/emotion2vec_plus_large')",
        "huggingface": "from huggingface_hub import snapshot_download;"
        "snapshot_download('emotion2vec/emotion2vec_plus_large')",
    }
    subprocess.run([sys.executable, "-c", library[hub]], check=True, timeout=120)


@both_hubs
@pytest.mark.parametrize("name", ["model.pt", "config.yaml"])
def test_a_cached_file_that_changed_is_noticed_and_mended(
    server: HubServer, hub: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = pull(LARGE, hub, None).path / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert cached(LARGE, hub, None) is None
    assert f"{name} in the cache is not as it was downloaded" in caplog.text
    path.write_bytes(content[:-1])
    assert cached(LARGE, hub, None) is None
    server.ranges.clear()
    assert same(find(LARGE, None, hub, None), server.revisions["main"])
    assert {fetched for fetched, _ in server.ranges} == {name}


@both_hubs
def test_a_copied_cache_is_as_good(server: HubServer, hub: str) -> None:
    """Times of change differ there; contents count."""
    source = pull(LARGE, hub, None)
    for name in WANTED_FILES:
        os.utime(source.path / name, (1, 1))
    server.stop()
    assert cached(LARGE, hub, None) == source


@both_hubs
def test_a_pinned_revision(server: HubServer, hub: str) -> None:
    server.revisions["v1"] = bundled_files() | {"configuration.json": b"{}"}
    newest = find(LARGE, None, hub, None)
    assert cached(LARGE, hub, "v1") is None
    pinned = find(LARGE, None, hub, "v1")
    assert same(pinned, server.revisions["v1"])
    assert same(newest, server.revisions["main"])
    with pytest.raises(ModelError, match="at v9 could not be downloaded"):
        find(LARGE, None, hub, "v9")
    server.stop()
    assert find(LARGE, None, hub, "v1") == pinned
    assert find(LARGE, None, hub, None) == newest


@both_hubs
def test_a_branch_that_moves_on_changes_nothing_until_pulled(server: HubServer, hub: str) -> None:
    before = server.revisions["main"]
    find(LARGE, None, hub, None)
    server.revisions["main"] = after = bundled_files() | OTHER
    assert same(find(LARGE, None, hub, None), before)
    assert same(pull(LARGE, hub, None), after)
    assert same(find(LARGE, None, hub, None), after)


@both_hubs
def test_another_program_cannot_change_the_model_unnoticed(server: HubServer, hub: str) -> None:
    before = server.revisions["main"]
    source = pull(LARGE, hub, None)
    server.revisions["main"] = bundled_files() | OTHER
    update_as_another_program(hub)
    assert cached(LARGE, hub, None) == source
    assert same(source, before)


@both_hubs
def test_a_cache_that_another_program_filled(caches: dict[str, str], hub: str) -> None:
    """Without our note of it, complete directories are taken, incomplete ones are not."""
    if hub == "modelscope":
        top = Path(caches["MODELSCOPE_CACHE"])
        places = [
            top / "hub" / "iic" / "emotion2vec_plus_large",
            top / "hub" / "models" / "iic" / "emotion2vec_plus_large",
            top / "models" / "iic--emotion2vec_plus_large" / "snapshots" / "master",
        ]
    else:
        folder = Path(caches["HF_HUB_CACHE"]) / "models--emotion2vec--emotion2vec_plus_large"
        places = [folder / "snapshots" / ("a" * 40)]
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("a" * 40)
    for place in places:  # the likelier last
        write(bundled_files(), place)
        assert cached(LARGE, hub, None) == Source(LARGE, place)
        assert cached(LARGE, hub, "v1") is None
    for place in places:
        (place / "model.pt").unlink()
    assert cached(LARGE, hub, None) is None


@both_hubs
def test_what_another_program_cached_is_not_downloaded_again(server: HubServer, hub: str) -> None:
    update_as_another_program(hub)
    server.ranges.clear()
    theirs = find(LARGE, None, hub, None)
    ours = pull(LARGE, hub, None)
    assert server.ranges == []
    assert cached(LARGE, hub, None) == ours
    assert (ours.path / "model.pt").samefile(theirs.path / "model.pt")  # once on the disk


@both_hubs
def test_a_pull_that_fails_leaves_what_was_cached(server: HubServer, hub: str) -> None:
    before = server.revisions["main"]
    pull(LARGE, hub, None)
    server.revisions["main"] = before | OTHER | {"model.pt": os.urandom(1000)}
    server.damaged["model.pt"] = 100
    with pytest.raises(ModelError, match="arrived damaged"):
        pull(LARGE, hub, None)
    assert same(find(LARGE, None, hub, None), before)


@pytest.mark.parametrize("layout", ["hub/iic", "hub/models/iic", "models/iic"])
def test_other_programs_older_layouts_are_left_as_they_are(
    server: HubServer, caches: dict[str, str], layout: str
) -> None:
    """A pull of another revision, one that fails, one that is killed, and one that succeeds."""
    before = server.revisions["main"]
    place = write(before, Path(caches["MODELSCOPE_CACHE"]) / layout / "emotion2vec_plus_large")
    (place / "README.md").unlink()
    theirs = Source(LARGE, place)
    server.revisions["v1"] = bundled_files() | OTHER
    assert same(pull(LARGE, "modelscope", "v1"), server.revisions["v1"])
    assert {name for name, _ in server.ranges} == {"configuration.json"}
    server.revisions["main"] = heavy_files() | OTHER
    server.damaged["model.pt"] = 100
    with pytest.raises(ModelError, match="arrived damaged"):
        pull(LARGE, "modelscope", None)
    server.damaged.clear()
    server.broken = {"model.pt"}
    server.requests.clear()
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "models", "pull"], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as process:
        while not any(request.endswith("/repo") for request in server.requests):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert cached(LARGE, "modelscope", None) == theirs
    assert same(theirs, before)
    server.broken = set()
    assert same(pull(LARGE, "modelscope", None), server.revisions["main"])
    assert same(theirs, before)


@pytest.mark.parametrize("links", [True, False])
def test_only_what_differs_is_downloaded_and_what_was_replaced_removed(
    server: HubServer, caches: dict[str, str], links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    server.revisions["v1"] = server.revisions["main"]
    pinned = pull(LARGE, "modelscope", "v1")
    first = pull(LARGE, "modelscope", None)
    server.revisions["main"] = bundled_files() | OTHER
    server.ranges.clear()
    second = pull(LARGE, "modelscope", None)
    assert server.ranges == [("configuration.json", 0)]
    assert not first.path.exists()
    assert same(second, server.revisions["main"])
    assert same(pinned, server.revisions["v1"])
    assert (second.path / "model.pt").samefile(pinned.path / "model.pt") == links


def test_a_hugging_face_cache_without_links(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "symlink_to", refuse)
    source = pull(LARGE, "huggingface", None)
    assert same(source, server.revisions["main"])
    assert not (source.path / "model.pt").is_symlink()


def test_hugging_face_is_asked_nothing_once_the_files_are_here(server: HubServer) -> None:
    """It might have stopped answering. Its own tools find the files as they would lay them out."""
    source = pull(LARGE, "huggingface", None)
    asked = [request for request in server.requests if "/api/" in request]
    assert asked == ["GET /api/models/emotion2vec/emotion2vec_plus_large/revision/main"]
    repository = "emotion2vec/emotion2vec_plus_large"
    found = snapshot_download(
        repository, cache_dir=HUBS["huggingface"].root(), local_files_only=True
    )
    assert Path(found) == source.path


@both_hubs
def test_a_second_process_waits_for_the_first(server: HubServer, hub: str) -> None:
    with locked(HUBS[hub], LARGE):
        second = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "models", "pull", "--hub", hub],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        lines = [second.stderr.readline(), second.stderr.readline()]
        assert lines[1] == f"Another process is downloading {LARGE}; waiting for it.\n"
        assert server.requests == []
    assert second.wait(60) == 0
    second.stderr.close()
    assert cached(LARGE, hub, None) is not None


@pytest.mark.filterwarnings("ignore:flock not supported")
@both_hubs
def test_a_file_system_without_locks(
    server: HubServer, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert same(pull(LARGE, hub, None), server.revisions["main"])


def test_a_file_that_another_program_keeps_locked(
    server: HubServer, caches: dict[str, str]
) -> None:
    downloader = HubApi().downloader
    root = Path(caches["MODELSCOPE_CACHE"])
    with FileLock(mkdir_for(downloader._lock_path(LARGE, "model", root, "model.pt"))):
        failed = emoseek("models", "pull", MODELSCOPE_DOWNLOAD_FILE_LOCK_TIMEOUT_SECONDS="1")
    assert failed.returncode == 1
    assert "model.pt took too long, or another process is downloading it" in failed.stderr


def test_a_slow_line_has_a_day() -> None:
    """In a process of its own, because ModelScope's library looks when it is imported."""
    program = (
        "from app.recogniser.hubs.modelscope import _api; _api();"
        "from modelscope_hub import _download as d;"
        "print(d.DOWNLOAD_TOTAL_TIMEOUT, d.DOWNLOAD_FILE_LOCK_TIMEOUT_SECONDS)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "86400 86400\n"


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSYS, "not here")


def mkdir_for(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path
