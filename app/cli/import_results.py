"""Result directories of other installations of this HTTP interface, one by one."""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import click
from tqdm import tqdm

from app.cli.import_target import Target, open_target
from app.cli.result_dir import find_results, read_result
from app.errors import EmoseekError, InvalidParameter, Unavailable


def run(directory: Path, url: str | None) -> int:
    """Import a directory; returns the exit status.

    Raises:
        InvalidParameter: there is nothing to import.
        Unavailable: the service or the database stopped answering.
    """
    found = find_results(directory)
    if not found:
        raise InvalidParameter("DIRECTORY", f"no result.json below {directory}.")
    with open_target(url) as target:
        tally = _import_all(target, directory, found)
    _tell(tally)
    if untried := len(found) - tally.total():
        click.echo(f"{untried} not tried. Run the same command again for the rest.", err=True)
    return 1 if tally["refused"] or untried else 0


def _import_all(target: Target, directory: Path, found: list[Path]) -> collections.Counter[str]:
    """Number of directories by what became of them; refusals are told as they happen."""
    tally: collections.Counter[str] = collections.Counter()
    interval = 0.1 if sys.stderr.isatty() else 10.0
    with tqdm(total=len(found), unit="result", mininterval=interval) as bar:
        try:
            for path in found:
                tally[_import_one(target, directory, path)] += 1
                bar.update()
        except KeyboardInterrupt:
            bar.close()
    return tally


def _import_one(target: Target, directory: Path, path: Path) -> str:
    try:
        result = read_result(path, path.relative_to(directory).as_posix())
        return target.add_result(result)
    except Unavailable:  # of no directory in particular
        raise
    except (EmoseekError, OSError) as exc:  # one must not end the others
        reason = exc.detail if isinstance(exc, EmoseekError) else str(exc)
        tqdm.write(f"{path}: {reason}", file=sys.stderr)
        return "refused"


def _tell(tally: collections.Counter[str]) -> None:
    anew, bare = tally["recognised anew"], tally["without embedding"]
    told = [f"{tally['stored'] + anew + bare} stored"]
    if anew:
        told.append(f"{anew} of them embedded anew from their audio")
    if bare:
        told.append(f"{bare} of them without an embedding: no search finds them")
    told += [f"{tally['already stored']} already stored", f"{tally['refused']} refused"]
    click.echo(", ".join(told))
