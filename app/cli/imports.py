"""`emoseek import` and `emoseek import-vectors`: clips that were recognised elsewhere."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

file_path = click.Path(exists=True, dir_okay=False, path_type=Path)
url_option = click.option("--url", help="The service; default from EMOSEEK_HOST and EMOSEEK_PORT.")


@click.command("import")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@url_option
def import_results(directory: Path, url: str | None) -> None:
    """Store every result directory below DIRECTORY as a clip, in a running service or, where none
    runs, in the data directory. May be stopped and run again: none is stored twice. Exits 1 when
    one was refused."""
    from app.cli.import_results import run

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(directory, url))


@click.command("import-vectors")
@click.argument("npy", metavar="FILE.npy", type=file_path)
@click.option("--meta", type=file_path, help="CSV with a header and one row for each vector.")
@click.option("--model", help="Whose embeddings they are, if not the active model's.")
@click.option("--again", is_flag=True, help="Import a file once more that was imported before.")
@url_option
def import_vectors(
    npy: Path, meta: Path | None, model: str | None, again: bool, url: str | None
) -> None:
    """Store the (N, D) vectors of FILE.npy as clips, in a running service or, where none runs,
    in the data directory. May be stopped and run again: no row is stored twice."""
    from app.cli.import_vectors import run

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(npy, meta, model=model, again=again, url=url))
