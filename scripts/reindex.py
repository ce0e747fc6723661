"""Build the index anew from the stored embeddings, and follow it.

    python scripts/reindex.py [--url URL] [--stop]

In the service at URL, or at the settings' host and port; where none runs, in the data directory
itself. Searches go on meanwhile. An interrupt ends the following only: the service goes on with
it, and after an end of the process the next one begins it anew. `--stop` ends it, and the index
stays as it was.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import NoReturn, Protocol

import click
import httpx
from tqdm import tqdm

from app.cli.client import ask, checked
from app.cli.target import open_either
from app.errors import Conflict, EmoseekError
from app.http.reindex import Reindex
from app.library import Library

ROUTE = "/api/v1/admin/reindex"
LOOK_SECONDS = 0.2


class Reindexer(Protocol):
    """What a service and a library of our own can both do; see app.library.reindex."""

    interrupted: str  # what is said then

    def begin(self) -> Reindex: ...

    def stop(self) -> Reindex: ...

    def latest(self) -> Reindex: ...


class Remote:
    """A running service."""

    interrupted = "The service goes on with it. Run this again to follow it, with --stop to end it."

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def begin(self) -> Reindex:
        return self._asked("POST", "")

    def stop(self) -> Reindex:
        return self._asked("POST", "/stop")

    def latest(self) -> Reindex:
        return self._asked("GET", "")

    def _asked(self, method: str, path: str) -> Reindex:
        answer = ask(self._client, method, ROUTE + path)
        if answer.status_code == Conflict.status:
            raise Conflict(answer.json()["detail"])
        return Reindex.model_validate_json(checked(answer).content)


class Local:
    """A library of our own."""

    interrupted = "It begins anew when the service starts, or when this is run again."

    def __init__(self, library: Library) -> None:
        self._reindexing = library.reindexing

    def begin(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.begin())

    def stop(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.stop())

    def latest(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.latest())


@click.command(help=__doc__)
@click.option("--url", help="The service; default from EMOSEEK_HOST and EMOSEEK_PORT.")
@click.option("--stop", is_flag=True, help="End the reindex that is under way.")
def command(url: str | None, stop: bool) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_either(url) as found:
        reindexer = Remote(found) if isinstance(found, httpx.Client) else Local(found)
        try:
            reindex = reindexer.stop() if stop else begun(reindexer)
            reindex = followed(reindexer, reindex)
        except KeyboardInterrupt:
            click.echo(reindexer.interrupted, err=True)
            sys.exit(1)
    click.echo(told(reindex))
    sys.exit(0 if reindex.state == ("stopped" if stop else "done") else 1)


def begun(reindexer: Reindexer) -> Reindex:
    """A new one, or the one that is under way."""
    try:
        return reindexer.begin()
    except Conflict as exc:
        click.echo(f"{exc.detail} Following that one.", err=True)
        return reindexer.latest()


def followed(reindexer: Reindexer, reindex: Reindex) -> Reindex:
    """The reindex as it is when it has finished."""
    bar: tqdm[NoReturn] = tqdm(total=reindex.total, unit="clip", desc=f"Reindex {reindex.id}")
    with bar:
        while reindex.finished is None:
            time.sleep(LOOK_SECONDS)
            reindex = reindexer.latest()
            bar.total = reindex.total
            bar.update(reindex.done - bar.n)  # back to 0 where it began anew
    return reindex


def told(reindex: Reindex) -> str:
    lines = [f"Reindex {reindex.id}: {reindex.state}. {reindex.message or ''}".rstrip()]
    if (made := reindex.summary) is not None:
        lines.append(
            f"Build {made.build} ({made.engine}): {made.clips} clips, {made.left_out} left out, "
            f"{made.seconds:.1f} s"
        )
    return "\n".join(lines)


def main() -> None:
    try:
        command()
    except EmoseekError as exc:
        click.echo(f"reindex: {exc.detail}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
