"""Build the index anew from the stored embeddings, or hear all clips again with another model.

    python scripts/reindex.py [--model MODEL] [--rollback | --drop | --stop] [--url URL]

In the service at URL, or at the settings' host and port; where none runs, in the data directory
itself. Searches go on meanwhile. An interrupt ends the following only: the service goes on with
it, and after an end of the process the next one goes on with it. `--stop` ends it, and searches
stay as they were.

With `--model` every clip whose audio is kept is heard again by that model, which then becomes the
active one. MODEL is `bundled`, the id of a cached model, or the name of a directory in models/ of
the data directory; without a running service any directory. `--rollback` goes back to the model
before, and forward again; `--drop` gives that one up.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn, Protocol

import click
import httpx
from tqdm import tqdm

from app.cli.client import ask, checked
from app.cli.target import open_either
from app.errors import Conflict, EmoseekError, UnderWay
from app.http.reindex import DropSummary, RebuildSummary, ReembedSummary, Reindex, Roles
from app.library import Library
from app.library.model_names import source_named
from app.recogniser.sources import local_or_cached

ROUTE = "/api/v1/admin/reindex"
LOOK_SECONDS = 0.2


class Reindexer(Protocol):
    """What a service and a library of our own can both do; see app.http.reindex."""

    interrupted: str  # what is said then

    def begin(self, model: str | None) -> Reindex: ...

    def drop(self) -> Reindex: ...

    def stop(self) -> Reindex: ...

    def latest(self) -> Reindex: ...

    def roll_back(self) -> tuple[str, str]:
        """The ids of the model that is active now, and of the one beside it."""


class Remote:
    """A running service."""

    interrupted = "The service goes on with it. Run this again to follow it, with --stop to end it."

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def begin(self, model: str | None) -> Reindex:
        return Reindex.model_validate_json(self._asked("POST", "", json={"model": model}))

    def drop(self) -> Reindex:
        return Reindex.model_validate_json(self._asked("POST", "/drop"))

    def stop(self) -> Reindex:
        return Reindex.model_validate_json(self._asked("POST", "/stop"))

    def latest(self) -> Reindex:
        return Reindex.model_validate_json(self._asked("GET", ""))

    def roll_back(self) -> tuple[str, str]:
        roles = Roles.model_validate_json(self._asked("POST", "/rollback"))
        return roles.active.id, roles.beside.id

    def _asked(self, method: str, path: str, **request: object) -> bytes:
        answer = ask(self._client, method, ROUTE + path, **request)
        if answer.status_code == Conflict.status:
            problem = answer.json()
            raise (UnderWay if problem["type"] == UnderWay.type else Conflict)(problem["detail"])
        return checked(answer).content


class Local:
    """A library of our own."""

    interrupted = "It goes on when the service starts, or when this is run again."

    def __init__(self, library: Library) -> None:
        self._library = library
        self._reindexing = library.reindexing

    def begin(self, model: str | None) -> Reindex:
        if model is None:
            return Reindex.model_validate(self._reindexing.begin("rebuild"))
        return Reindex.model_validate(self._reindexing.begin("reembed", self._id_of(model)))

    def drop(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.begin("drop"))

    def stop(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.stop())

    def latest(self) -> Reindex:
        return Reindex.model_validate(self._reindexing.latest())

    def roll_back(self) -> tuple[str, str]:
        with self._reindexing.idle():
            spaces = self._library.roles.switch()
        assert spaces.beside is not None
        return spaces.active.model.id, spaces.beside.model.id

    def _id_of(self, model: str) -> str:
        settings = self._library.settings
        if os.path.isdir(model):  # of the operator, who may name any
            return local_or_cached(model, settings.hub, None).id
        return source_named(settings, model).id


@click.command(help=__doc__)
@click.option("--model", help="Hear all clips again with this one.")
@click.option("--rollback", "wanted", flag_value="rollback", help="Go back to the model before.")
@click.option("--drop", "wanted", flag_value="drop", help="Give up the model before.")
@click.option("--stop", "wanted", flag_value="stop", help="End the reindex that is under way.")
@click.option("--url", help="The service; default from EMOSEEK_HOST and EMOSEEK_PORT.")
def command(model: str | None, wanted: str | None, url: str | None) -> None:
    if model is not None and wanted is not None:
        raise click.UsageError(f"--model and --{wanted} do not go together.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_either(url) as found:
        reindexer = Remote(found) if isinstance(found, httpx.Client) else Local(found)
        if wanted == "rollback":
            active, beside = reindexer.roll_back()
            click.echo(f"{active} is the active model now; {beside} is beside it.")
            return
        try:
            reindex = followed(reindexer, begun(reindexer, model, wanted))
        except KeyboardInterrupt:
            click.echo(reindexer.interrupted, err=True)
            sys.exit(1)
    click.echo(told(reindex))
    sys.exit(0 if reindex.state == ("stopped" if wanted == "stop" else "done") else 1)


def begun(reindexer: Reindexer, model: str | None, wanted: str | None) -> Reindex:
    """A new one, or the one that is under way if it is the same.

    Raises:
        Conflict: another one is under way, or it cannot be begun.
    """
    if wanted == "stop":
        return reindexer.stop()
    try:
        return reindexer.drop() if wanted == "drop" else reindexer.begin(model)
    except UnderWay as exc:
        latest = reindexer.latest()
        if latest.finished is not None:  # meanwhile
            raise
        click.echo(f"{exc.detail} Following that one.", err=True)
        return latest


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
    match reindex.summary:
        case RebuildSummary() as made:
            lines.append(
                f"Build {made.build} ({made.engine}): {made.clips} clips, {made.left_out} left "
                f"out, {made.seconds:.1f} s"
            )
        case ReembedSummary() as made:
            lines += told_of_model(made)
        case DropSummary() as made:
            lines.append(f"{made.dropped} embeddings removed, {made.seconds:.1f} s")
    return "\n".join(lines)


def told_of_model(made: ReembedSummary) -> list[str]:
    lines = [
        f"{made.model} is the active model now: {made.clips} clips in its index, "
        f"{made.reembedded} heard again in {made.seconds:.1f} s",
        f"{made.changed_emotion} clips have another emotion",
    ]
    if made.overlap is not None:
        lines.append(
            f"{made.overlap:.0%} of the ten nearest neighbours are the same, over "
            f"{made.overlap_clips} clips"
        )
    if made.without_audio or made.damaged:
        lines.append(
            f"Not heard, with scores as they were: {made.without_audio} without kept audio, "
            f"{made.damaged} whose kept audio is damaged"
        )
    return [*lines, "Back and forth with --rollback, until --drop gives up the model before"]


def main() -> None:
    try:
        command()
    except EmoseekError as exc:
        click.echo(f"reindex: {exc.detail}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
