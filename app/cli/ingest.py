"""`emoseek ingest`: post a directory of recordings to a running service."""

from __future__ import annotations

import collections
import concurrent.futures
import signal
import sys
from pathlib import Path
from typing import Any

import click
import httpx

from app.cli.client import checked, connect, unreachable
from app.cli.ingest_csv import FIELDS, parse_columns, read_csv
from app.cli.poster import Poster
from app.errors import EmoseekError, InvalidParameter
from app.settings import load_settings

SUFFIXES = {".wav", ".mp3", ".m4a", ".mp4", ".aac", ".flac", ".ogg", ".oga", ".opus"}
ALWAYS_TOLD = ("stored", "already stored", "failed")


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--metadata",
    "csv_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with a column `file` (path below DIRECTORY); its other columns become fields.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help=f"Take {', '.join(FIELDS)} from a CSV column of another name (repeatable).",
)
@click.option("--update", is_flag=True, help="Change stored clips whose fields are others now.")
@click.option("--parallel", default=4, show_default=True, type=click.IntRange(1, 64))
@click.option("--url", help="The service; default from EMOSEEK_HOST and EMOSEEK_PORT.")
def ingest(
    directory: Path,
    csv_file: Path | None,
    columns: tuple[str, ...],
    update: bool,
    parallel: int,
    url: str | None,
) -> None:
    """Post every recording below DIRECTORY. May be stopped and run again: a file that was
    stored under the same relative path before is not stored again. Exits 1 when a file failed."""
    renamed = parse_columns(columns)
    if renamed and csv_file is None:
        raise InvalidParameter("--column", "needs the CSV; give it with --metadata.")
    rows = read_csv(csv_file, renamed) if csv_file else {}
    files = sorted(p for p in directory.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InvalidParameter("DIRECTORY", f"no recordings below {directory}.")
    with connect(load_settings(), url) as client:
        try:
            checked(client.get("/api/v1/status"))
        except httpx.TransportError as exc:
            raise unreachable(client, exc) from exc
        tally = _post_all(Poster(client, update=update), directory, files, rows, parallel)
    told = [name for name in (*ALWAYS_TOLD, *sorted(tally)) if name in ALWAYS_TOLD or tally[name]]
    click.echo(", ".join(f"{tally[name]} {name}" for name in dict.fromkeys(told)))
    if tally["stored with other fields"]:
        click.echo("Run it with --update to change those fields.", err=True)
    if tally["not tried"]:
        click.echo("Run the same command again for the rest.", err=True)
    if missing := sorted(set(rows) - {_name(path, directory) for path in files}):
        click.echo(f"{len(missing)} lines of the CSV name no file, e.g. {missing[0]}", err=True)
    sys.exit(1 if tally["failed"] or tally["not tried"] else 0)


def _post_all(
    poster: Poster,
    directory: Path,
    files: list[Path],
    rows: dict[str, dict[str, Any]],
    parallel: int,
) -> collections.Counter[str]:
    """Number of files by outcome; failures are told as they happen."""
    from tqdm import tqdm

    def post(path: Path) -> str:
        name = _name(path, directory)
        try:
            return poster.post(path, name, rows.get(name, {}))
        except Exception as exc:  # one file must not end the others
            reason = exc.detail if isinstance(exc, EmoseekError) else str(exc)
            tqdm.write(f"{name}: {reason}", file=sys.stderr)
            return "failed"

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on_screen = sys.stderr.isatty()
    with (
        concurrent.futures.ThreadPoolExecutor(parallel) as pool,
        tqdm(total=len(files), unit="file", mininterval=0.1 if on_screen else 10.0) as bar,
    ):
        posted: list[concurrent.futures.Future[str]] = []
        try:
            posted.extend(pool.submit(post, path) for path in files)
            for _ in concurrent.futures.as_completed(posted):
                bar.update()
        except KeyboardInterrupt:
            poster.stopping.set()  # those under way are finished, the others return at once
    tally = collections.Counter(future.result() for future in posted)
    tally["not tried"] += len(files) - len(posted)
    return tally


def _name(path: Path, directory: Path) -> str:
    """The path below the directory, with bytes that are not UTF-8 replaced."""
    name = path.relative_to(directory).as_posix()
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
