"""A visit to the page in a real browser, which notes whatever goes wrong there."""

from __future__ import annotations

import re
from typing import Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.service import Service

TABS = ("recognise", "library", "duplicates", "clusters", "reports", "customers", "status")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 780}
AXE = Axe()
expect.set_options(timeout=20_000)  # ms; two cores may have much to do


class Visit:
    """A browser window on a service. At its end there must have been no error in the console, no
    script that broke, and no request to another host.

    Args:
        refusals: statuses of answers that this visit asks for on purpose: browsers note them.
    """

    def __init__(
        self,
        browser: Browser,
        service: Service,
        *,
        refusals: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        self.service = service
        self.context = browser.new_context(
            **{"viewport": DESKTOP, "locale": "en-GB", "accept_downloads": True} | options
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self._refusals = refusals
        self._wrong: list[str] = []
        self.context.on("request", self._requested)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._wrong.append(f"page error: {error}"))

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(
            (f"{self.service.url}/", f"blob:{self.service.url}/", "data:")
        ):
            self._wrong.append(f"another host: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        status = re.search(r"responded with a status of (\d+)", message.text)
        if status is None or int(status[1]) not in self._refusals:
            self._wrong.append(f"console: {message.text} ({message.location.get('url')})")

    def open(self, place: str = "") -> Page:
        """The page at a place, as `#/library`, once nothing is on its way any more."""
        self.page.goto(f"{self.service.url}/{place}")
        self.settle()
        return self.page

    def settle(self) -> None:
        self.page.wait_for_load_state("networkidle")
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def tab(self, name: str) -> Page:
        """The page after a click on a tab's name."""
        self.page.click(f"nav [data-tab={name}]")
        expect(self.page.locator(f"nav [data-tab={name}]")).to_have_attribute(
            "aria-current", "page"
        )
        self.settle()
        return self.page

    def barriers(self) -> list[str]:
        """What axe-core finds of serious or critical impact."""
        found = AXE.run(self.page).response["violations"]
        return [
            f"{one['id']}: {[node['target'] for node in one['nodes']][:5]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def overflow(self) -> int:
        """CSS pixels that the page is wider than its window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wide

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert not self._wrong, self._wrong
