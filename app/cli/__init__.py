"""The `emoseek` command."""

from __future__ import annotations

import sys

import click

from app import __version__
from app.cli.imports import import_results, import_vectors
from app.cli.index import index
from app.cli.ingest import ingest
from app.cli.models import models
from app.cli.recognise import recognise
from app.cli.report import report, schedules
from app.cli.serve import serve, stop
from app.cli.similar import similar
from app.errors import EmoseekError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emoseek")
def group() -> None:
    """Speech emotion with similarity search. Settings: EMOSEEK_… variables or a .env file."""


for command in (
    serve,
    stop,
    recognise,
    ingest,
    import_results,
    import_vectors,
    similar,
    report,
    schedules,
    index,
    models,
):
    group.add_command(command)


def main() -> None:
    """Run the command line; a refusal is one sentence and exit status 1."""
    try:
        group()
    except EmoseekError as exc:
        click.echo(f"emoseek: {exc.detail}", err=True)
        sys.exit(1)
