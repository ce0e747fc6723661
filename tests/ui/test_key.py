"""A service with a key: the page is there, asks for it, and uses it for everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium
from tests.service import Service
from tests.ui.visit import Visit

pytestmark = needs_chromium

KEY = "a key of some length"


def test_the_page_asks_for_the_key(
    browser: Browser, start: Callable[..., Service], audio: Path
) -> None:
    service = start(EMOSEEK_API_KEY=KEY.replace(" ", "-"))
    clip_id = service.store(audio / "calm_voice_a.mp3")
    with Visit(browser, service, refusals=(401,)) as at:
        at.page.goto(f"{service.url}/#/clip/{clip_id}")
        dialog = at.page.locator("dialog")
        expect(dialog).to_contain_text("This service wants a key")
        at.page.wait_for_load_state("networkidle")  # all that were refused share the question
        at.page.keyboard.press("Escape")
        expect(at.page.locator("main [role=alert]").first).to_contain_text(
            "This needs a valid key."
        )
        at.page.reload()
        dialog.locator("input[type=password]").fill("not-the-key")
        dialog.locator("button.main").click()
        expect(dialog).to_contain_text("That key was refused.")
        dialog.locator("input[type=password]").fill(KEY.replace(" ", "-"))
        dialog.locator("button.main").click()
        expect(dialog).not_to_be_visible()
        at.settle()
        # Sound and files need it, too.
        expect(at.page.locator("[data-part=clip] .u-over")).to_be_visible()
        at.page.locator("[data-wave-play]").click()
        expect(at.page.locator("[data-wave-play]")).to_have_attribute("aria-label", "Pause")
        with at.page.expect_download() as started:
            at.page.click("[data-download=audio]")
        assert Path(started.value.path()).read_bytes()[:4] == b"fLaC"

        # Kept until the tab is closed, unless it is forgotten.
        at.page.reload()
        at.settle()
        expect(dialog).not_to_be_visible()
        at.page.click("text=Forget the key")
        expect(dialog).to_be_visible()
