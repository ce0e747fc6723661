"""`emoseek report` and `emoseek schedules`: reports by hand, and what has others made in time."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx

from app.cli.client import ask, checked
from app.cli.imports import url_option
from app.cli.target import open_either
from app.errors import EmoseekError
from app.settings import load_settings

if TYPE_CHECKING:
    from app.library import Library

LOOK_SECONDS = 0.5
FORMATS = ("json", "html", "csv")
ROUTE = "/api/v1/reports"


class ReportFailed(EmoseekError):
    """It was made, but there is none."""


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where files go.")
@click.option("--name", default="Report", show_default=True, help="The heading.")
@click.option("--algorithm", type=click.Choice(["hdbscan", "kmeans"]), default="hdbscan")
@click.option("--clusters", type=int, help="How many, with kmeans.")
@click.option("--seed", type=int, default=0)
@click.option("--since", help="From this instant on (ISO 8601 with an offset).")
@click.option("--until", help="Before this instant.")
@click.option("--emotion", multiple=True, help="Any of these.")
@click.option("--min-confidence", type=float, help="Of the clip's emotion, at least.")
@click.option("--customer-id")
@click.option("--call-id")
@click.option("--agent-id")
@click.option("--tag", multiple=True, help="All of these.")
@url_option
def report(
    out: Path | None,
    name: str,
    algorithm: str,
    clusters: int | None,
    seed: int,
    url: str | None,
    **filters: Any,
) -> None:
    """Make a report and wait for it. Its JSON is printed or, with --out, written to report-ID.json
    there, beside report-ID.html and report-ID.csv. In a running service or, where none runs, in the
    data directory."""
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in filters.items() if v}
    settings = {"algorithm": algorithm, "n_clusters": clusters, "seed": seed}
    wanted = {"name": name, "filters": given, "settings": settings}
    with open_either(url) as found:
        if isinstance(found, httpx.Client):
            report_id, contents = _remote(found, wanted)
            clips = str(found.base_url.join("/api/v1/clips"))
        else:
            report_id, contents = _local(found, wanted)
            clips = f"http://{found.settings.host}:{found.settings.port}/api/v1/clips"
    if out is None:
        click.echo(contents["json"].decode())
        return
    contents["html"] = contents["html"].replace(b'href="../clips/', f'href="{clips}/'.encode())
    out.mkdir(parents=True, exist_ok=True)
    for form in FORMATS:
        path = out / f"report-{report_id}.{form}"
        path.write_bytes(contents[form])
        click.echo(path)


@click.command()
@click.option("--data-dir", type=Path, help="Whose database, unless it is Postgres.")
def schedules(data_dir: Path | None) -> None:
    """Look for slots of schedules that fall due until stopped, beside the service or instead of it
    for a time. The reports themselves are made by the service."""
    from app.library import clock
    from app.library.scheduler import Scheduler
    from app.library.schedules import Schedules
    from app.store import Store

    settings = load_settings(data_dir=data_dir)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(message)s")
    store = Store(settings.sqlalchemy_url)
    store.migrate()
    stopping = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    scheduler = Scheduler(Schedules(store, lambda: clock.now()), settings.sqlalchemy_url)
    click.echo("Looking for slots.", err=True)
    try:
        while not stopping.wait(1.0):
            try:
                scheduler.look()
            except EmoseekError as exc:
                click.echo(f"emoseek: {exc.detail}", err=True)
    finally:
        scheduler.close()
        store.close()


def _remote(client: httpx.Client, wanted: dict[str, Any]) -> tuple[int, dict[str, bytes]]:
    made = checked(ask(client, "POST", ROUTE, json=wanted)).json()
    while made["state"] in ("queued", "running"):
        time.sleep(LOOK_SECONDS)
        made = checked(ask(client, "GET", f"{ROUTE}/{made['id']}")).json()
    if made["state"] == "failed":
        raise ReportFailed(f"Report {made['id']} failed: {made['message']}")
    contents = {
        form: checked(ask(client, "GET", f"{ROUTE}/{made['id']}.{form}")).content
        for form in FORMATS
    }
    return made["id"], contents


def _local(library: Library, wanted: dict[str, Any]) -> tuple[int, dict[str, bytes]]:
    from pydantic import ValidationError

    from app.http.problems import invalid
    from app.http.report_csv import csv_of
    from app.http.report_page import page_of
    from app.http.report_schemas import ReportBegin, ReportContent

    try:
        asked = ReportBegin.model_validate(wanted)
    except ValidationError as exc:
        raise invalid(exc.errors()[0]) from exc
    made = library.reports.begin(asked.name, asked.filters.wanted(), asked.settings.wanted())
    while made.state in ("queued", "running"):
        time.sleep(LOOK_SECONDS)
        made = library.reports.get(made.id)
    if made.state == "failed":
        raise ReportFailed(f"Report {made.id} failed: {made.message}")
    content = library.reports.content(made.id)
    told = json.loads(ReportContent.model_validate(content).model_dump_json())
    return made.id, {
        "json": json.dumps(told).encode(),
        "html": page_of(content).encode(),
        "csv": csv_of(content).encode(),
    }
