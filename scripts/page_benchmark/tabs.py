"""`tabs`: from a click on a tab until it can be used, with ten thousand clips."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from scripts.index_benchmark.measure import table
from scripts.page_benchmark.browser import Stretch, Visit, chromium
from scripts.page_benchmark.service import Service, note, recordings

CLIPS = 10_000
RECORDINGS, MOST_TIMES = 80, 4  # that are posted, each once or several times
VISITS = 5
LIMIT = 2000.0  # ms
COLUMNS = ("place", "cold median", "max", "warm median", "max", "requests cold, warm", "long task")

PEOPLE = ("[data-person]",)
PLACES = {
    "recognise": ("input[type=file]",),
    "library": ("[data-clip]", "[data-count]"),
    "duplicates": ("[data-group] [data-member]",),
    "clusters": ("canvas", "[data-cluster]"),
    "reports": ("[data-report]",),
    "customers": PEOPLE,
    "status": ("[data-part=index]", "[data-part=jobs]"),
}
ON_A_CLIP = (
    "[data-wave-play]:not([disabled])",
    ".chart canvas",
    "[data-part=neighbours] [data-clip]",
    "[data-part=duplicates] table, [data-part=duplicates] p",
)
WITH_A_MAP = ("clusters",)


def measure() -> None:
    with tempfile.TemporaryDirectory() as name, Service(Path(name)) as service:
        clip_id = _fill(service)
        places = PLACES | {
            f"#/clip/{clip_id}": ON_A_CLIP,
            "#/reports/1": ("[data-part=report]", "[data-part=ranked] [data-group]"),
            "#/customers/customer%207": (".chart canvas", "[data-part=latest] [data-clip]"),
        }
        with chromium() as browser:
            rows = [_opened(browser, service)]
            for place, wanted in places.items():
                note(place)
                rows.append(_visited(browser, service, place, wanted))
    print(table(COLUMNS, rows))


def _fill(service: Service) -> int:
    """Clips, recordings with duplicates, a cluster run, a report; a clip that has a duplicate."""
    service.answers("/readyz")
    service.import_vectors(CLIPS)
    note(f"{CLIPS:,} clips imported")
    rng = np.random.default_rng(2)
    posted = []
    for number, content in enumerate(recordings(RECORDINGS)):
        for _ in range(rng.integers(1, MOST_TIMES + 1)):
            posted.append(service.post(content, customer_id=f"customer {number}"))
    service.settle()
    note(f"{len(posted)} recordings posted")
    service.make("/clusters", {"algorithm": "hdbscan"})
    service.make("/reports", {"name": "All"})
    pairs = sum(
        len(one["pairs"])
        for one in service.get("/duplicates", limit=200, kind=["same_file", "same_recording"])[
            "groups"
        ]
    )
    clips = service.get("/status")["database"]["clips"]
    print(f"{clips:,} clips, {pairs} pairs of duplicates among {len(posted)} recordings\n")
    return next(one for one in posted if service.get(f"/clips/{one}/duplicates")["duplicates"])


def _opened(browser: Browser, service: Service) -> list[str]:
    """The page itself, from nothing."""
    cold = []
    for _ in range(VISITS):
        with Visit(browser, service.url) as visit:
            cold.append(visit.open("", PLACES["recognise"]))
            at_first = visit.received(until=cold[-1].took)
            visit.page.wait_for_load_state("networkidle")
            in_all = visit.received()
    with Visit(browser, service.url) as visit:
        visit.open("", PLACES["recognise"])
        visit.page.wait_for_load_state("networkidle")
        warm = []
        for _ in range(VISITS):
            visit.page.goto("about:blank")
            warm.append(visit.open("", PLACES["recognise"]))
    print(
        f"The page is usable after {at_first[0]} files and answers of {at_first[1] / 1e3:.0f} kB; "
        f"with what it fetches when idle they are {in_all[0]} of {in_all[1] / 1e3:.0f} kB.\n"
    )
    return _row("opening the page", cold, warm)


def _visited(browser: Browser, service: Service, place: str, wanted: Sequence[str]) -> list[str]:
    """A place first in a fresh window, as soon as another tab is there, then once more."""
    other = "recognise" if place == "status" else "status"
    cold: list[Stretch] = []
    warm: list[Stretch] = []
    for _ in range(VISITS):
        with Visit(browser, service.url) as visit:
            visit.open(f"#/{other}", PLACES[other])
            for stretches in (cold, warm):
                stretches.append(visit.go(place, wanted, map_drawn=place in WITH_A_MAP))
                visit.page.wait_for_load_state("networkidle")
                visit.go(other, PLACES[other])
    return _row(place, cold, warm)


def _row(place: str, cold: Sequence[Stretch], warm: Sequence[Stretch]) -> list[str]:
    times = [[one.took for one in some] for some in (cold, warm)]
    longest = max(one.longest for one in (*cold, *warm))
    counts = [statistics.median_low(one.requests for one in some) for some in (cold, warm)]
    late = "" if max(map(max, times)) <= LIMIT else " (too slow)"
    return [
        place + late,
        *(f"{of(some):.0f} ms" for some in times for of in (statistics.median, max)),
        f"{counts[0]}, {counts[1]}",
        f"{longest:.0f} ms" if longest else "< 50 ms",
    ]
