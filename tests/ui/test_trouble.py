"""The page while the service is away, starts, or has too much to do."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import requests
from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium
from tests.service import Service
from tests.ui.visit import Visit

pytestmark = needs_chromium


def test_a_service_that_goes_away_and_comes_back(
    browser: Browser, start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    service.store(audio / "calm_voice_a.mp3")
    at = Visit(browser, service)  # not left as usual: a request that nobody answers is noted
    page = at.open("#/status")
    port = service.port
    service.stop()
    page.click("nav [data-tab=library]")
    trouble = page.locator("main [role=alert]", has_text="The service does not answer.")
    expect(trouble.first).to_contain_text("Check that it runs")
    service.spawn(port=port)
    # While it starts the page's own files are there at once, and the rest comes by itself.
    while not is_alive(service):
        time.sleep(0.05)
    page.reload()
    expect(page.locator("[data-clip='1']")).to_be_visible(timeout=30_000)
    expect(page.locator("main [role=alert]")).to_have_count(0)
    at.context.close()


def test_a_service_that_is_killed_loses_nothing_and_stores_nothing_twice(
    browser: Browser, start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    at = Visit(browser, service)  # not left as usual: a request that nobody answers is noted
    page = at.open("#/recognise")
    page.set_input_files("input[type=file]", [audio / "calm_voice_a.flac"] * 60)
    expect(page.locator("[data-state=done]").nth(9)).to_be_attached()
    service.stop(signal.SIGKILL)
    assert page.locator("[data-state=done]").count() < 60
    service.start(port=service.port)
    expect(page.locator("[data-state=done]")).to_have_count(60, timeout=60_000)
    assert service.get("/clips/count").json() == {"count": 60}
    expect(page.locator("[data-upload]", has_text="does not answer")).to_have_count(0)
    told = page.locator("[data-upload] td:nth-child(4) a").all_inner_texts()
    stored = service.get("/clips", limit=100).json()["clips"]
    assert sorted(map(int, told)) == sorted(clip["clip_id"] for clip in stored)
    at.context.close()


def is_alive(service: Service) -> bool:
    try:
        return requests.get(f"{service.url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_files_wait_while_the_service_has_too_much_to_do(
    browser: Browser, start: Callable[..., Service], audio: Path
) -> None:
    service = start(EMOSEEK_MAX_CONCURRENCY="1", EMOSEEK_QUEUE_LENGTH="0")
    with Visit(browser, service, refusals=(429,)) as at:
        refused = []
        at.page.on("response", lambda answer: answer.status == 429 and refused.append(answer.url))
        page = at.open("#/recognise")
        page.set_input_files("input[type=file]", [audio / "stereo_call_48k.flac"] * 8)
        expect(page.locator("[data-state=done]")).to_have_count(8, timeout=60_000)
        at.settle()
        assert refused, "nothing was refused: this proves nothing"
        expect(page.locator("[data-state=failed]")).to_have_count(0)
    assert service.get("/clips/count").json() == {"count": 8}


def test_a_file_over_the_limit_is_refused_before_it_is_sent(
    browser: Browser, start: Callable[..., Service]
) -> None:
    service = start(EMOSEEK_MAX_UPLOAD_MB="0.01")
    with Visit(browser, service) as at:
        page = at.open("#/recognise")
        expect(page.locator(".drop")).to_contain_text("Up to 10.2 kB")
        large = {"name": "large.wav", "mimeType": "audio/wav", "buffer": bytes(20_000)}
        page.set_input_files("input[type=file]", [large])
        expect(page.locator("[data-upload='large.wav']")).to_contain_text("larger or longer")
    assert service.get("/status").json()["requests"]["total"] == 0
