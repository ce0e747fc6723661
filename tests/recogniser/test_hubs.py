"""Downloads from both hubs over a real connection, with what goes wrong on one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import termios

import pytest

from app.errors import ModelError
from app.recogniser import hubs
from app.recogniser.hubs import progress
from app.recogniser.hubs.contract import WANTED_FILES
from app.recogniser.sources import LARGE, Source, cached, find, pull
from tests.conftest import ROOT
from tests.recogniser.hub_server import Files, HubServer, bundled_files

pytestmark = pytest.mark.parametrize("hub", ["modelscope", "huggingface"])


def heavy_files() -> Files:
    """A model.pt of several of the libraries' 10 MB pieces; it cannot be served."""
    return bundled_files() | {"model.pt": os.urandom(30_000_000)}


def same(source: Source, files: Files) -> bool:
    found = {path.name: path.read_bytes() for path in source.path.iterdir()}
    return found == {name: files[name] for name in WANTED_FILES}


def emoseek(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_model_is_downloaded_once(server: HubServer, hub: str) -> None:
    source = find(LARGE, None, hub, None)
    assert source.id == LARGE
    assert same(source, server.revisions["main"])
    assert server.requests
    server.requests.clear()
    assert find(LARGE, None, hub, None) == source
    assert find("auto", None, hub, None) == source
    server.stop()
    assert find(LARGE, None, hub, None) == source
    assert server.requests == []


def test_the_same_id_by_either_hubs_name(server: HubServer, hub: str) -> None:
    for name in ("iic/emotion2vec_plus_base", "emotion2vec/emotion2vec_plus_base"):
        assert find(name, None, hub, None).id == "iic/emotion2vec_plus_base"


def test_a_connection_that_breaks_is_taken_up(server: HubServer, hub: str) -> None:
    server.revisions["main"] = heavy_files()
    server.cuts["model.pt"] = [25_000_000]
    assert same(pull(LARGE, hub, None), server.revisions["main"])
    first, second = (start for name, start in server.ranges if name == "model.pt")
    assert first == 0
    assert second >= 20_000_000


def test_the_next_process_continues(server: HubServer, hub: str) -> None:
    """The first one is told 503 after the break, gives up and says how to go on."""
    server.revisions["main"] = heavy_files()
    server.cuts["model.pt"] = [25_000_000]

    class Once(set[str]):
        def __contains__(self, name: object) -> bool:
            return name == "model.pt" and not server.cuts["model.pt"]

    server.broken = Once()
    failed = emoseek("models", "pull", "--hub", hub, MODELSCOPE_DOWNLOAD_MAX_RETRIES="0")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("emoseek: iic/emotion2vec_plus_large could")
    assert "Traceback" not in failed.stderr
    assert cached(LARGE, hub, None) is None
    server.broken = set()
    server.ranges.clear()
    done = emoseek("models", "pull", "--hub", hub)
    assert done.returncode == 0, done.stderr
    assert max(start for name, start in server.ranges if name == "model.pt") >= 20_000_000
    source = cached(LARGE, hub, None)
    assert source is not None
    assert str(source.path) in done.stdout
    assert same(source, server.revisions["main"])


def test_a_file_that_arrives_damaged_is_fetched_anew(server: HubServer, hub: str) -> None:
    server.damaged["model.pt"] = 1
    assert same(pull(LARGE, hub, None), server.revisions["main"])


def test_a_file_that_always_arrives_damaged_is_refused(server: HubServer, hub: str) -> None:
    server.damaged["model.pt"] = 100
    with pytest.raises(ModelError, match=r"model\.pt arrived damaged.*emoseek models pull"):
        find(LARGE, None, hub, None)
    assert cached(LARGE, hub, None) is None
    server.damaged.clear()
    assert same(find(LARGE, None, hub, None), server.revisions["main"])


def test_a_model_that_the_hub_does_not_have(server: HubServer, hub: str) -> None:
    with pytest.raises(ModelError, match=r"nobody/nothing could not be.*has no such model"):
        find("nobody/nothing", None, hub, None)


def test_a_login_goes_to_the_hub_and_not_to_where_it_sends_us(
    server: HubServer, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    pull(LARGE, hub, None)
    sent = {token for host, token in server.tokens if host == "127.0.0.1"}
    assert any(token and "secret" in token for token in sent)
    assert all(token is None for host, token in server.tokens if host != "127.0.0.1")
    assert ("localhost" in dict(server.tokens)) == (hub == "huggingface")


def test_a_model_of_another_kind(server: HubServer, hub: str) -> None:
    del server.revisions["main"]["tokens.txt"]
    with pytest.raises(ModelError, match=r"no tokens\.txt"):
        find(LARGE, None, hub, None)
    assert server.ranges == []


def test_without_a_network_a_pinned_model_says_what_to_do(
    caches: dict[str, str], hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise ModelScope's library waits 7 s in between.
    monkeypatch.setattr("modelscope_hub._legacy_api.REPO_TREE_PAGE_MAX_ATTEMPTS", 1)
    with pytest.raises(ModelError) as refused:
        find(LARGE, None, hub, None)
    for words in ("does not answer", f"emoseek models pull {LARGE}", "a directory", "`bundled`"):
        assert words in refused.value.detail


def test_a_log_shows_how_far_a_download_is(
    server: HubServer, hub: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    server.revisions["main"] = heavy_files()
    pull(LARGE, hub, None)
    lines = [m for m in caplog.messages if m.startswith(f"Downloading {LARGE}: ")]
    assert len(lines) > 3
    assert lines[-1].endswith("30 of 30 MB (100 %).")


def test_a_terminal_gets_a_bar(server: HubServer, hub: str) -> None:
    """And nothing but ours: the libraries have bars of their own."""
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (25, 100))
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "models", "pull", "--hub", hub],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(controller, 65536)
            except OSError:  # the other side has closed
                break
    os.close(controller)
    assert process.returncode == 0, shown
    bars = [line for line in shown.decode().replace("\r", "\n").split("\n") if "%|" in line]
    assert bars[-1].startswith(f"{LARGE}: 100%")
    assert {line.partition(":")[0].strip() for line in bars} == {LARGE}


def test_no_bar_in_a_log(server: HubServer, hub: str) -> None:
    done = emoseek("models", "pull", "--hub", hub)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"Asking {hubs.HUBS[hub].title} for {LARGE}.",
        done.stdout.strip() + ".",
    ]
