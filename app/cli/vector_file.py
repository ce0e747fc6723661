"""Files of vectors (.npy), and what a CSV file says of each of them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from app.cli.ingest_csv import FIELDS
from app.domain import LABELS
from app.errors import InvalidParameter
from app.http.imported import ImportedRow
from app.http.problems import invalid

META = "meta."  # columns of metadata are called meta.KEY
BLOCK_BYTES = 2**21  # of vectors, stored in one transaction


class VectorFile:
    """(N, D) vectors of a .npy file, which stays on disk, and N rows of a CSV file.

    Raises:
        InvalidParameter: one of the files is not what it should be.
    """

    def __init__(self, npy: Path, meta: Path | None) -> None:
        try:
            vectors = np.lib.format.open_memmap(npy, mode="r")
        except (ValueError, EOFError, OSError) as exc:
            raise InvalidParameter("FILE", f"{npy} is not a .npy file ({exc}).") from exc
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or vectors.dtype.itemsize > 8:
            raise InvalidParameter(
                "FILE",
                f"{npy} is {vectors.dtype} {vectors.shape}, not (N, D) of 16 to 64-bit floats.",
            )
        if not vectors.size:
            raise InvalidParameter("FILE", f"{npy} is empty: {vectors.shape}.")
        self._paths = [npy] if meta is None else [npy, meta]
        self._vectors = vectors
        self._meta = meta
        self.rows, self.dimension = vectors.shape
        self.rows_a_block = max(1, BLOCK_BYTES // (4 * self.dimension))

    def key(self) -> str:
        """SHA-256 that stands for both files."""
        digest = hashlib.sha256()
        for path in self._paths:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def check(self, advance: Callable[[int], object]) -> NDArray[np.int64] | None:
        """Read everything once; returns the ids (N,), or None where there is no such column.

        Args:
            advance: called with the number of rows that were checked since the last call.

        Raises:
            InvalidParameter: something cannot be stored; it says in which row.
        """
        ids = np.zeros(self.rows, np.int64)
        for first, vectors, said in self.blocks(0):
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                row = first + int(finite.argmin())
                raise InvalidParameter("FILE", f"row {row} is not finite as float32.")
            for number, one in enumerate(said, first):
                ids[number] = one.id or 0
            advance(len(vectors))
        if not ids.any():
            return None
        if not ids.all():
            raise InvalidParameter("--meta", f"row {int(ids.argmin())} has no id.")
        values, counts = np.unique(ids, return_counts=True)
        if len(values) < len(ids):
            raise InvalidParameter("--meta", f"id {values[counts.argmax()]} is there twice.")
        return ids

    def blocks(self, done: int) -> Iterator[tuple[int, NDArray[np.float32], list[ImportedRow]]]:
        """(number of the first row, (n, D) float32, n rows or none without a CSV) from row
        `done` on."""
        said = None if self._meta is None else read_rows(self._meta, self.rows, done)
        for first in range(done, self.rows, self.rows_a_block):
            with np.errstate(over="ignore"):  # what becomes infinite is refused by `check`
                vectors = np.array(self._vectors[first : first + self.rows_a_block], np.float32)
            yield first, vectors, [] if said is None else [next(said) for _ in vectors]
        if said is not None:
            next(said, None)  # tells of rows that are too many


def read_rows(path: Path, expected: int, done: int) -> Iterator[ImportedRow]:
    """The rows of a CSV file from number `done` on.

    Raises:
        InvalidParameter: a cell or the header is not valid, or there are not `expected` rows.
    """
    number = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_header(reader.fieldnames or [])
            for number, cells in enumerate(reader, 1):
                if number > expected:
                    break
                if number > done:
                    yield _row(number - 1, cells)
    except (UnicodeDecodeError, csv.Error) as exc:
        raise InvalidParameter("--meta", f"is not a CSV in UTF-8 ({exc}).") from exc
    if number != expected:
        told = f"{number}" if number < expected else "more"
        raise InvalidParameter("--meta", f"has {told} rows, FILE has {expected}.")


def _check_header(header: list[str] | Any) -> None:
    known = {"id", "emotion", *FIELDS, *LABELS}
    for name in header:
        if name not in known and not (name.startswith(META) and name != META):
            raise InvalidParameter(
                "--meta",
                f"a column {name!r} is not known; metadata columns are called meta.KEY, the others "
                f"{', '.join(('id', 'emotion', *FIELDS, *LABELS))}.",
            )
    if len(set(header)) < len(header):
        raise InvalidParameter("--meta", "a column is there twice.")
    if 0 < len(set(LABELS) & set(header)) < len(LABELS):
        raise InvalidParameter("--meta", f"scores need all of the columns {', '.join(LABELS)}.")


def _row(number: int, cells: dict[str, Any]) -> ImportedRow:
    if None in cells or None in cells.values():
        raise InvalidParameter("--meta", f"row {number} has more or fewer cells than the header.")
    given = {name: cell for name, cell in cells.items() if cell}
    said: dict[str, Any] = {
        name: given[name] for name in (*FIELDS, "id", "emotion") if name in given
    }
    if "tags" in said:
        said["tags"] = [tag.strip() for tag in said["tags"].split(";") if tag.strip()]
    if scores := {label: given[label] for label in LABELS if label in given}:
        said["scores"] = scores
    said["metadata"] = {
        name.removeprefix(META): cell for name, cell in given.items() if name.startswith(META)
    }
    try:
        return ImportedRow.model_validate(said)
    except ValidationError as exc:
        raise InvalidParameter(
            "--meta", f"row {number}: {invalid(exc.errors()[0]).detail}"
        ) from exc
