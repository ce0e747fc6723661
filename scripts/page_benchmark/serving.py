"""`start` and `latency`: what the page costs who does not look at it."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.index_benchmark.measure import KeepAlive, Memory, get, table
from scripts.page_benchmark.service import ROOT, Service, note

RUNS = 7
CLIPS = 10_000
REQUESTS, BLOCK = 3000, 250
WAYS = {"with the page": True, "without it": False}
IMPORT = """
import time
import fastapi, fastapi_offline
begun = time.perf_counter()
from app.ui import page
page.install(fastapi.FastAPI())
print((time.perf_counter() - begun) * 1000)
"""


def start() -> None:
    """Seconds to /healthz and memory when ready, by turns, on a directory that was used before."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    memory: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Service(directory) as first:
            first.answers("/readyz")
        for number in range(RUNS):
            for way, page in list(WAYS.items())[:: -1 if number % 2 else 1]:
                note(f"start {number + 1} {way}")
                with Service(directory, page=page) as service:
                    seconds[way].append(service.answers("/healthz"))
                    service.answers("/readyz")
                    memory[way].append(Memory.of([service.process.pid]).resident)
    rows = [
        [
            way,
            f"{statistics.median(seconds[way]):.3f} s",
            f"{min(seconds[way]):.3f} – {max(seconds[way]):.3f} s",
            f"{statistics.median(memory[way]):.1f} MB",
        ]
        for way in WAYS
    ]
    with_page, without = (statistics.median(seconds[way]) for way in WAYS)
    larger, smaller = (statistics.median(memory[way]) for way in WAYS)
    rows.append(
        ["difference", f"{1000 * (with_page - without):+.0f} ms", "", f"{larger - smaller:+.1f} MB"]
    )
    print(table(("service", "/healthz after, median", "least – most", "RSS, ready"), rows))
    print(f"\nIts import and installation take {_import():.1f} ms, the median of {RUNS} processes.")


def _import() -> float:
    """Milliseconds, where what the service imports anyway is imported."""
    command = [sys.executable, "-c", IMPORT]
    took = [subprocess.check_output(command, cwd=ROOT, text=True) for _ in range(RUNS)]
    return statistics.median(map(float, took))


def latency() -> None:
    """The same requests to two services on the same clips, in blocks by turns."""
    with tempfile.TemporaryDirectory() as name:
        one, other = Path(name) / "one", Path(name) / "other"
        one.mkdir()
        with Service(one) as first:
            first.answers("/readyz")
            first.import_vectors(CLIPS)
            note(f"{CLIPS:,} clips imported")
        shutil.copytree(one, other)
        with Service(one) as with_page, Service(other, page=False) as without:
            for service in (with_page, without):
                service.answers("/readyz")
                service.settle()
            rows = [
                _asked("GET /api/v1/clips/{id}/similar", _similar, with_page, without),
                _asked("GET /healthz", lambda _: get("/healthz"), with_page, without),
            ]
    columns = ("request", *(f"{q} {way}" for q in ("p50", "p99") for way in WAYS))
    print(table((*columns, "ratio p50", "ratio p99"), rows))


def _similar(number: int) -> bytes:
    return get(f"/api/v1/clips/{number % CLIPS + 1}/similar")


def _asked(name: str, request: Callable[[int], bytes], *services: Service) -> list[str]:
    note(name)
    clients = [KeepAlive(service.port) for service in services]
    took: list[list[float]] = [[] for _ in services]
    for number in range(BLOCK):  # not counted
        for client in clients:
            client(request(CLIPS - 1 - number))
    for first in range(0, REQUESTS, BLOCK):
        # Whoever is asked second in one block is asked first in the next.
        turns = list(zip(clients, took, strict=True))
        for client, times in turns if first // BLOCK % 2 else reversed(turns):
            for number in range(first, first + BLOCK):
                begun = time.perf_counter()
                client(request(number))
                times.append((time.perf_counter() - begun) * 1000)
    for client in clients:
        client.close()
    found = np.percentile(took, [50, 99], axis=1)  # (2, services)
    return [
        name,
        *(f"{one:.3f} ms" for one in found.flat),
        *(f"{with_page / without:.3f}" for with_page, without in found),
    ]
