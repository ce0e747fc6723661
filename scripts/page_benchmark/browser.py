"""Headless Chromium with scripts/page_benchmark/probe.js in every page."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from playwright.sync_api import Browser, sync_playwright

PROBE = (Path(__file__).parent / "probe.js").read_text("utf-8")
PROGRAMS = ("chromium", "chromium-browser")
WINDOW = {"width": 1280, "height": 900}
# Nothing is looked up or updated elsewhere.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)
PATIENCE_SECONDS = 60


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The system's.

    Raises:
        SystemExit: there is none.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise SystemExit("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """What a visitor waited for, in milliseconds."""

    took: float
    tasks: Sequence[float]  # of the main thread, those of more than 50 ms
    requests: int

    @property
    def longest(self) -> float:
        return max(self.tasks, default=0.0)


class Visit:
    """A window of its own, with nothing in its cache."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._url = url
        self._context = browser.new_context(viewport=WINDOW, locale="en-GB")  # type: ignore[arg-type]
        self._context.add_init_script(PROBE)
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_SECONDS * 1000)
        self._requests = 0
        self.page.on("request", self._requested)

    def _requested(self, _: object) -> None:
        self._requests += 1

    def open(self, place: str, wanted: Sequence[str]) -> Stretch:
        """The page at an address, as `#/library`, until it is usable."""
        before = self._requests
        self.page.goto(f"{self._url}/{place}", wait_until="commit")
        took = self.page.evaluate("wanted => bench.usable(wanted)", list(wanted))
        requests = self._requests - before
        return Stretch(took, self.page.evaluate("bench.since(0)"), requests)

    def go(self, place: str, wanted: Sequence[str], *, map_drawn: bool = False) -> Stretch:
        """A click on a tab, or an address, until what is wanted of it is usable."""
        before = self._requests
        told = self.page.evaluate("of => bench.go(...of)", [place, list(wanted), map_drawn])
        return Stretch(told["took"], told["tasks"], self._requests - before)

    def received(self, part: str = "", until: float = 1e9) -> tuple[int, int]:
        """(answers, their bytes with headers) until an instant, of addresses with `part`."""
        told: list[int] = self.page.evaluate(
            """([part, until]) => performance.getEntries()
                .filter((one) => one.transferSize && one.responseEnd <= until)
                .filter((one) => one.name.includes(part))
                .map((one) => one.transferSize)""",
            [part, until],
        )
        return len(told), sum(told)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
