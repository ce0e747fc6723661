"""`people`: the lists of customers and agents at a million clips, and what keeps them up.

A SQLite database with made-up clips: customers have 10 each in the mean, some have a thousand, and
agents as many as each other. The routes are asked over HTTP, by one client.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import requests
import uvicorn
from fastapi import FastAPI

from app.domain import LABELS, ClipFields, GivenScores, ModelInfo
from app.http import people as routes
from app.library.people import People
from app.settings import Settings
from app.store import Store, clips, imports, models

BLOCK = 1000  # clips stored by one transaction
ASKED = 200  # times
BEGAN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def add_to(parts: Any) -> None:
    """Adds the subcommand to a parser's."""
    parser = parts.add_parser("people", help="lists of customers and agents at scale")
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=200)
    parser.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(f"sqlite:///{Path(directory) / 'people.db'}")
        store.migrate()
        show("storing the clips", timed(lambda: fill(store, told)))
        kept_up = People(store)
        show("the table from nothing", timed(kept_up.work))
        one = ClipFields(customer_id="customer 7", agent_id="agent 7")
        show("the table after a change of one clip", timed(lambda: change(store, kept_up, one)))
        with serving(SimpleNamespace(store=store, settings=Settings(), people=kept_up)) as url:
            for path in (
                *(f"/customers?sort={sort}" for sort in ("drift", "negative", "clips")),
                *("/customers?flagged=true", "/customers?limit=1000", "/agents"),
                *("/customers/customer 7/timeline", "/agents/agent 7/timeline"),
            ):
                ask(url, path)
        store.close()


def fill(store: Store, told: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    weights = rng.pareto(1.2, told.customers) + 0.05
    customers = rng.choice(told.customers, told.clips, p=weights / weights.sum())
    agents = rng.integers(0, told.agents, told.clips)
    emotions = rng.choice(LABELS, told.clips)
    scores = tuple([1 / len(LABELS)] * len(LABELS))
    hours = np.sort(rng.integers(0, 24 * 365, told.clips))
    with store.write() as session:
        info = ModelInfo("made/up", "d" * 64, 4, bundled=False)
        model = models.activate(session, info, np.zeros(4, np.float32))
    for first in range(0, told.clips, BLOCK):
        rows = range(first, min(first + BLOCK, told.clips))
        block = [
            imports.ImportedClip(
                ClipFields(
                    customer_id=f"customer {customers[row]}",
                    agent_id=f"agent {agents[row]}",
                    recorded_at=BEGAN + dt.timedelta(hours=int(hours[row])),
                ),
                GivenScores(str(emotions[row]), 0.5, scores),
            )
            for row in rows
        ]
        with store.write() as session:
            imports.add(session, model, np.array(rows) + 1, block, None, BEGAN)


def change(store: Store, kept_up: People, fields: ClipFields) -> None:
    with store.write() as session:
        clips.update(session, 1, fields)
    kept_up.work()


@contextlib.contextmanager
def serving(library: Any) -> Iterator[str]:
    """The routes of customers and agents on a free port; gives the address."""
    app = FastAPI()
    app.state.library = library
    app.include_router(routes.router)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/v1"
    server.should_exit = True
    thread.join()


def ask(url: str, path: str) -> None:
    client, took = requests.Session(), []
    for _ in range(ASKED):
        began = time.perf_counter()
        answer = client.get(url + path)
        took.append(time.perf_counter() - began)
        assert answer.ok, answer.text
    p50, p99 = np.quantile(took, (0.5, 0.99)) * 1000
    print(f"| GET {path} | {p50:.1f} ms | {p99:.1f} ms |", flush=True)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show(name: str, seconds: float) -> None:
    print(f"{name}: {seconds:.2f} s", flush=True)
