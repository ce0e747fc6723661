"""`map`: a hundred thousand clips drawn, zoomed, dragged and pointed at."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

from scripts.index_benchmark.measure import table
from scripts.page_benchmark.browser import Stretch, Visit, chromium
from scripts.page_benchmark.service import Service, note
from scripts.page_benchmark.tabs import PLACES

CLIPS = 100_000
CLUSTERS = 12
VISITS = 3
TIMES = 60  # of zooming, of dragging
POINTED = 100
FREEZE = 200.0  # ms
CHOSEN = """async () => {
  const chosen = document.querySelector("[data-part=chosen]");
  const began = await new Promise((done) =>
    addEventListener("pointerup", () => done(performance.now()), { capture: true, once: true }));
  await bench.until(() => chosen.textContent !== "");
  return performance.now() - began;
}"""
COLOURED = """async ([by]) => {
  const choice = document.querySelector("[data-choice=colour]");
  const { painted } = bench;
  const began = performance.now();
  choice.value = by;
  choice.dispatchEvent(new Event("change", { bubbles: true }));
  await bench.until(() => bench.painted > painted);
  return { took: performance.now() - began, tasks: await bench.since(began) };
}"""


def measure() -> None:
    with tempfile.TemporaryDirectory() as name, Service(Path(name)) as service:
        service.answers("/readyz")
        service.import_vectors(CLIPS)
        note(f"{CLIPS:,} clips imported")
        service.make("/clusters", {"algorithm": "kmeans", "n_clusters": CLUSTERS})
        with chromium() as browser:
            drawn = [_drawn(browser, service) for _ in range(VISITS)]
            with Visit(browser, service.url) as visit:
                visit.open("#/status", PLACES["status"])
                visit.go("clusters", PLACES["clusters"], map_drawn=True)
                rows = _used(visit.page)
    print(f"A map of {CLIPS:,} clips, {drawn[0].received / 1e6:.1f} MB of answers.\n")
    stretches = [one.stretch for one in drawn]
    print(
        "From the click on the tab until all are drawn: "
        f"median {statistics.median(one.took for one in stretches):.0f} ms, "
        f"max {max(one.took for one in stretches):.0f} ms, "
        f"longest task {_task(max(one.longest for one in stretches))}, "
        f"long tasks together {max(sum(one.tasks) for one in stretches):.0f} ms.\n"
    )
    print(table(("what", "frames, median", "p95", "max", "drawn", "longest task"), rows))


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    stretch: Stretch
    received: int  # bytes of the map's requests


def _drawn(browser: Browser, service: Service) -> Drawn:
    with Visit(browser, service.url) as visit:
        visit.open("#/status", PLACES["status"])
        visit.page.wait_for_load_state("networkidle")
        stretch = visit.go("clusters", PLACES["clusters"], map_drawn=True)
        _, size = visit.received("/map")
        return Drawn(stretch, size)


def _used(page: Page) -> list[list[str]]:
    page.locator("canvas").scroll_into_view_if_needed()
    box = page.locator("canvas").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    rows = [
        _interaction(page, f"{TIMES} zooms", lambda: _zoom(page)),
        _interaction(page, f"{TIMES} drags", lambda: _drag(page, middle)),
        _interaction(page, f"{POINTED} pointings", lambda: _point(page, middle)),
    ]
    for by in ("emotion", "cluster"):
        told = page.evaluate(COLOURED, [by])
        longest = max(told["tasks"], default=0.0)
        rows.append([f"coloured by {by}", f"{told['took']:.0f} ms", "", "", "", _task(longest)])
    rows.append(["a click until its clip is named", f"{_click(page, middle):.0f} ms", *[""] * 4])
    return rows


def _interaction(page: Page, name: str, work: Callable[[], None]) -> list[str]:
    note(name)
    painted = page.evaluate("bench.painted")
    page.evaluate("bench.startFrames()")
    work()
    told = page.evaluate("bench.stopFrames()")
    intervals = np.diff(told["frames"])
    return [
        name,
        *(f"{one:.1f} ms" for one in np.percentile(intervals, [50, 95, 100])),
        str(page.evaluate("bench.painted") - painted),
        _task(max(told["tasks"], default=0.0)),
    ]


def _task(longest: float) -> str:
    return f"{longest:.0f} ms{' (freezes)' * (longest > FREEZE)}" if longest else "< 50 ms"


def _zoom(page: Page) -> None:
    """In by ten steps and out again, so that most points are in sight for most of the time."""
    page.keyboard.down("Control")
    for number in range(TIMES):
        page.mouse.wheel(0, -40 if number // 10 % 2 == 0 else 40)
        page.wait_for_timeout(20)
    page.keyboard.up("Control")


def _drag(page: Page, middle: tuple[float, float]) -> None:
    """To and fro, so that all points stay in sight."""
    left, top = middle
    for number in range(TIMES):
        across = 40 if number % 2 else -40
        page.mouse.move(left - across / 2, top)
        page.mouse.down()
        page.mouse.move(left + across / 2, top + 5, steps=5)
        page.mouse.up()


def _point(page: Page, middle: tuple[float, float]) -> None:
    for left, top in itertools.islice(_spiral(*middle), POINTED):
        page.mouse.move(left, top)


def _spiral(left: float, top: float) -> Iterator[tuple[float, float]]:
    """Places around one, further and further from it."""
    for number in itertools.count():
        reach, angle = 2 * number, number * 0.7
        yield left + reach * np.cos(angle), top + reach * np.sin(angle)


def _click(page: Page, middle: tuple[float, float]) -> float:
    """Milliseconds until the clip of a point is named."""
    places: Sequence[tuple[float, float]] = list(itertools.islice(_spiral(*middle), 100))
    for place in places:
        page.mouse.move(*place)
        if page.locator(".map .hint").count():
            break
    page.evaluate(f"void (window.chosen = ({CHOSEN})())")
    page.mouse.down()
    page.mouse.up()
    took: float = page.evaluate("window.chosen")
    return took
