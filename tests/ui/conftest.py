"""A browser, and a service that has some of everything the page shows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.service import Service
from tests.ui.visit import Visit

HOSTILE = '<img src=x onerror=alert(1)>/ünï & "co"'
COPIES = ("calm_voice_a.flac", "calm_voice_a.mp3", "calm_voice_a.opus.ogg")
VOICES = ("angry_voice_a", "angry_voice_c", "calm_voice_b", "fearful_voice_d", "happy_voice_b")


# Of a module only: while Playwright is at work no other asyncio loop can run in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, audio: Path) -> Iterator[Service]:
    """A service with clips of some customers, duplicates, a cluster run and a report."""
    with Service(tmp_path_factory.mktemp("page")) as service:
        fill(service, audio)
        yield service


@pytest.fixture
def visit(browser: Browser, full: Service) -> Callable[..., Visit]:
    """Begins a visit to the full service."""

    def begin(**options: Any) -> Visit:
        return Visit(browser, full, **options)

    return begin


def fill(service: Service, audio: Path) -> None:
    today = dt.datetime.now(dt.UTC)
    for name in COPIES:
        service.store(audio / name, customer_id="anna", agent_id="x", tags=["billing"])
    for number in range(30):
        service.store(
            audio / f"{VOICES[number % len(VOICES)]}.flac",
            customer_id=HOSTILE if number % 3 else "bert",
            agent_id=f"agent {number % 2}",
            recorded_at=(today - dt.timedelta(days=number)).isoformat(),
        )
    run = service.http.post(f"{service.url}/api/v1/clusters", json={"algorithm": "kmeans"}).json()
    done(service, f"/clusters/{run['id']}")
    report = service.http.post(f"{service.url}/api/v1/reports", json={"name": "First"}).json()
    done(service, f"/reports/{report['id']}")


def done(service: Service, path: str) -> dict[str, Any]:
    """What is at a path once it is no longer at work."""
    give_up = time.monotonic() + 60
    while True:
        told: dict[str, Any] = service.get(path).json()
        if told["state"] not in ("queued", "running"):
            assert told["state"] == "done", told
            return told
        assert time.monotonic() < give_up, told
        time.sleep(0.1)
