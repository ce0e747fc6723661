"""Clips from a file of embeddings, block by block."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.cli.import_target import Target, open_target
from app.cli.vector_file import VectorFile
from app.errors import Conflict
from app.library.imports import tell_taken


def run(npy: Path, meta: Path | None, *, model: str | None, again: bool, url: str | None) -> int:
    """Import a file; returns the exit status.

    Raises:
        InvalidParameter: the file is refused; nothing was stored.
        Conflict: an id is taken; nothing was stored.
    """
    file = VectorFile(npy, meta)
    with _bar(file, "Checking") as bar:
        key = file.key()
        ids = file.check(bar.update)
    with open_target(url) as target:
        if again:
            target.forget(key, model)
        done, digest = _begin(target, file, key, model, ids)
        # Of the model that it was begun with, whichever becomes the active one meanwhile.
        stored = _store(target, file, key, digest, done)
    click.echo(f"{stored - done} stored, {done} already stored")
    return 0 if stored == file.rows else 1


def _begin(
    target: Target, file: VectorFile, key: str, model: str | None, ids: NDArray[np.int64] | None
) -> tuple[int, str]:
    """Rows that are stored already, and the model's digest; the others' ids are free, and kept for
    them."""
    if ids is None:
        return target.begin(key, model, file.rows, file.dimension, None)
    _refuse_taken(target, ids[target.done(key, model) :])
    done, digest = target.begin(key, model, file.rows, file.dimension, int(ids.max()))
    _refuse_taken(target, ids[done:])  # by a clip that was stored since
    return done, digest


def _refuse_taken(target: Target, ids: NDArray[np.int64]) -> None:
    if len(clash := target.taken(ids)):
        raise Conflict(f"{tell_taken(clash)} Nothing was stored.")


def _store(target: Target, file: VectorFile, key: str, model: str, done: int) -> int:
    """Store the rows from `done` on; returns how many are stored then."""
    with _bar(file, "Storing", done) as bar:
        try:
            for first, vectors, rows in file.blocks(done):
                target.add_rows(key, model, first, vectors, rows)
                done = first + len(vectors)
                bar.update(len(vectors))
        except KeyboardInterrupt:
            bar.close()
            click.echo("Stopped. Run the same command again for the rest.", err=True)
    return done


def _bar(file: VectorFile, what: str, done: int = 0) -> tqdm[NoReturn]:
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=file.rows, initial=done, unit="row", desc=what, mininterval=interval)
