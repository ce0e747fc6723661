"""Starts of a real service with the network cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.recogniser.model_dir import BUNDLED
from app.recogniser.sources import BUNDLED_ID, LARGE, pull
from tests.recogniser.hub_server import HubServer
from tests.service import Service

both_hubs = pytest.mark.parametrize("hub", ["modelscope", "huggingface"])


@both_hubs
def test_a_cached_large_model_is_served(
    server: HubServer, hub: str, start: Callable[..., Service], audio: Path
) -> None:
    pull(LARGE, hub, None)
    server.stop()
    server.requests.clear()
    service = start(EMOSEEK_MODEL="auto", EMOSEEK_HUB=hub)
    model = service.get("/status").json()["model"]
    assert (model["id"], model["bundled"]) == (LARGE, False)
    answer = service.post(audio / "calm_voice_a.flac").json()
    assert answer["model"]["bundled"] is False
    assert server.requests == []


def test_a_start_with_a_cached_model_asks_no_hub(
    server: HubServer, start: Callable[..., Service]
) -> None:
    """Although the network is there, and the branch has moved on."""
    pull(LARGE, "modelscope", None)
    server.revisions["main"] = {"README.md": b"something else"}
    server.requests.clear()
    service = start(EMOSEEK_MODEL="auto")
    first = service.get("/status").json()["model"]
    service.stop()
    service.start()
    assert service.get("/status").json()["model"] == first
    assert first["id"] == LARGE
    assert server.requests == []


@both_hubs
def test_auto_with_nothing_cached_serves_the_bundled_model_and_says_so(
    caches: dict[str, str], hub: str, start: Callable[..., Service], audio: Path
) -> None:
    service = start(EMOSEEK_MODEL="auto", EMOSEEK_HUB=hub)
    model = service.get("/status").json()["model"]
    assert (model["id"], model["bundled"]) == (BUNDLED_ID, True)
    answer = service.post(audio / "calm_voice_a.flac").json()
    assert answer["model"]["bundled"] is True
    log = service.log.read_text()
    assert f"{LARGE} is not in" in log
    assert "emoseek models pull" in log
    assert "small bundled model" in log


def test_the_choice_of_auto_stays_when_the_network_comes_back(
    caches: dict[str, str], server: HubServer, start: Callable[..., Service]
) -> None:
    service = start(EMOSEEK_MODEL="auto", MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    service.stop()
    server.requests.clear()
    service.start(MODELSCOPE_ENDPOINT=server.url)
    assert service.get("/status").json()["model"]["id"] == BUNDLED_ID
    assert server.requests == []


@both_hubs
def test_a_pinned_large_model_with_nothing_cached_stops_the_start(
    caches: dict[str, str], hub: str, tmp_path: Path
) -> None:
    service = Service(
        tmp_path,
        EMOSEEK_MODEL=LARGE,
        EMOSEEK_HUB=hub,
        MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS="1",  # no pauses in between
    ).spawn()
    assert service.process is not None
    assert service.process.wait(timeout=90) == 1
    log = service.log.read_text()
    told = [line for line in log.splitlines() if line.startswith("emoseek: ")]
    assert len(told) == 1
    assert told[0].startswith(f"emoseek: {LARGE} could not be downloaded")
    assert f"emoseek models pull {LARGE}" in told[0]
    assert "Traceback" not in log


def test_a_download_at_the_start_of_a_service(
    server: HubServer, start: Callable[..., Service]
) -> None:
    service = start(EMOSEEK_MODEL=LARGE)
    assert service.get("/status").json()["model"]["id"] == LARGE
    log = service.log.read_text()
    assert f"Asking ModelScope for {LARGE}." in log
    assert "%|" not in log
    assert BUNDLED.name not in log
