"""`emoseek index`: is the index what the database says it should be?"""

from __future__ import annotations

import sys

import click

from app.cli.imports import url_option
from app.errors import EmoseekError


@click.group()
def index() -> None:
    """The vector index: check and repair."""


@index.command()
@click.option("--repair", is_flag=True, help="Mend what is found, and check again.")
@url_option
def check(repair: bool, url: str | None) -> None:
    """Compare every vector of the index with the database: in a running service or, where none
    runs, the index as it lies in the data directory. Exits 1 when they differ (with --repair,
    when they still do), 2 when they cannot be compared."""
    from app.cli.index_check import run

    try:
        clean = run(repair, url)
    except (EmoseekError, OSError) as exc:
        click.echo(f"emoseek: {exc.detail if isinstance(exc, EmoseekError) else exc}", err=True)
        sys.exit(2)
    sys.exit(0 if clean else 1)
