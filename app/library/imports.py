"""Import vectors: clips whose embeddings were made elsewhere, a block of rows at a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain import ModelInfo
from app.errors import Conflict, InvalidParameter, NotFound
from app.library.library import Library
from app.store import ids as clip_ids
from app.store import imports, models

MOST_TOLD = 5  # ids named in a refusal


@dataclasses.dataclass(frozen=True, slots=True)
class Import:
    """A file of vectors on its way into the space of one model.

    `key` is the SHA-256 of all that is imported, `done` how many of its rows are stored.
    """

    key: str
    model: ModelInfo
    rows: int
    done: int


def find(library: Library, key: str, model: str | None) -> Import:
    """Raises NotFound when no such import was begun, or there is no such model here."""
    model_row, info = space_of(library, key, model)
    with library.store.read() as session:
        known = imports.progress(session, key, model_row)
    if known is None:
        raise NotFound("This file was not imported.")
    return Import(key, info, known.rows, known.done)


def begin(
    library: Library,
    key: str,
    model: str | None,
    *,
    rows: int,
    dimension: int,
    highest_id: int | None,
) -> Import:
    """Begin an import, or go on with it: ids up to `highest_id` are kept for its rows.

    Raises:
        NotFound: there is no such model here.
        InvalidParameter: the dimension is not the model's.
        Conflict: it was begun with another number of rows.
    """
    model_row, info = space_of(library, key, model)
    if dimension != info.dimension:
        raise InvalidParameter(
            "dimension",
            f"the vectors have {dimension} numbers, embeddings of {info.id} {info.dimension}.",
        )
    with library.store.write() as session:
        if highest_id is not None:
            clip_ids.skip_to(session, highest_id)
        known = imports.progress(session, key, model_row)
        if known is None:
            imports.begin(session, key, model_row, rows, dt.datetime.now(dt.UTC))
        elif known.rows != rows:
            raise Conflict(f"This import was begun with {known.rows} rows, not {rows}.")
    return Import(key, info, rows, known.done if known else 0)


def forget(library: Library, key: str, model: str | None) -> None:
    """Let a file be imported once more, beside what is stored of it. Raises NotFound."""
    model_row, _ = space_of(library, key, model)
    with library.store.write() as session:
        if not imports.forget(session, key, model_row):
            raise NotFound("This file was not imported.")


def taken(library: Library, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the ids that cannot be given to new clips."""
    with library.store.read() as session:
        return clip_ids.taken(session, ids)


def add_rows(
    library: Library,
    key: str,
    model: str | None,
    first: int,
    vectors: NDArray[np.float32],
    rows: Sequence[imports.ImportedClip],
    ids: NDArray[np.int64] | None,
) -> Import:
    """Store and index rows `first`, … of an import that was begun, all or none of them.

    Args:
        vectors: (n, D) finite.
        rows: n, what is said of each.
        ids: (n,) different ids ≥ 1, or None for the next ones.

    Raises:
        NotFound: no such import was begun.
        InvalidParameter: the vectors are not of the model's dimension, or not finite.
        Conflict: other rows are the next ones, or an id is taken.
    """
    model_row, info = space_of(library, key, model)
    if vectors.shape[1] != info.dimension or not np.isfinite(vectors).all():
        raise InvalidParameter("vectors", f"must be (n, {info.dimension}) finite numbers.")
    with library.roles.commits.shared():
        spaces = [space for space in library.spaces if space.model_row == model_row]
        removals = [space.index.removals for space in spaces]
        scored = library.classifiers.scored(model_row, vectors)
        with library.store.write() as session:
            known = imports.progress(session, key, model_row, lock=True)
            if known is None:
                raise NotFound("This import was not begun.")
            done = first + len(vectors)
            if known.done != first or done > known.rows:
                raise Conflict(f"The next row of this import is {known.done} of {known.rows}.")
            if ids is None:
                ids = clip_ids.draw(session, len(vectors))
            else:
                clip_ids.skip_to(session, int(ids.max()))
                if len(clash := clip_ids.taken(session, ids)):
                    raise Conflict(tell_taken(clash))
            imports.add(session, model_row, ids, rows, vectors, dt.datetime.now(dt.UTC))
            library.classifiers.keep(session, ids.tolist(), scored)
            imports.advance(session, key, model_row, done)
        library.filters.refresh(ids.tolist())
        for space, before in zip(spaces, removals, strict=True):
            space.index.add_block(ids, vectors, removals=before)
    return Import(key, info, known.rows, done)


def tell_taken(ids: NDArray[np.int64]) -> str:
    named = ", ".join(map(str, ids[:MOST_TOLD].tolist()))
    more = ", …" if len(ids) > MOST_TOLD else ""
    return f"{len(ids)} of the ids are taken, by clips that are or were: {named}{more}."


def space_of(library: Library, key: str, model: str | None) -> tuple[int, ModelInfo]:
    """The row and facts of the model whose embeddings an import has: the one named, else the one
    that it was begun with, whichever is active by now, else the active one.

    Raises:
        NotFound, Conflict: as `model_of`; Conflict too where the model that it was begun with is
            neither the active one nor beside it any more.
    """
    row, info = model_of(library, model)
    if model is not None:
        return row, info
    with library.store.read() as session:
        begun = imports.models_of(session, key)
    if not begun or any(other == row for other, _ in begun):
        return row, info
    for space in library.spaces:
        if any(other == space.model_row for other, _ in begun):
            return space.model_row, space.model
    _, first = begun[0]
    raise Conflict(
        f"This import was begun with embeddings of {first.id} ({first.digest[:12]}…), which is not "
        f"searched any more; name the model that they are of, {info.id} if it is the active one."
    )


def model_of(library: Library, name: str | None) -> tuple[int, ModelInfo]:
    """The row and facts of a model by its id or the beginning of its digest; None: the active.

    Raises:
        NotFound: this database does not know it.
        Conflict: it knows several.
    """
    active = library.spaces.active
    if name is None or name == active.model.id:
        return active.model_row, active.model
    with library.store.read() as session:
        found = models.named(session, name)
    if not found:
        raise NotFound(
            f"No clips here are by a model {name!r}; the active one is {active.model.id}."
        )
    if len(found) > 1:
        digests = ", ".join(f"{info.digest[:12]} ({info.id})" for _, info in found)
        raise Conflict(f"Several models here are {name!r}: name one by its digest: {digests}.")
    return found[0]
