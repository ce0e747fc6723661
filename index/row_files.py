"""Rows in mapped files: the kernel keeps in memory what is used, and a snapshot has them there."""

from __future__ import annotations

import hashlib
import os
import secrets
import weakref
from pathlib import Path
from typing import Literal

import numpy as np

from index.contract import Vectors
from index.manifest import file_name
from index.npy_files import npy_header


class RowFiles:
    """Makes arrays of rows that lie in .npy files of a directory. Safe from several threads.

    A file is changed only behind the rows that it had when a manifest first named it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._in_use: set[str] = set()
        self._digests: dict[str, tuple[int, str]] = {}  # of so many rows of a file

    def __call__(self, room: int, dimension: int) -> Vectors:
        """(room, dimension), in a new file.

        Raises:
            OSError: the disk is full; a mapped page that finds no place would end the process.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / file_name("rows", secrets.token_hex(8))
        self._in_use.add(path.name)
        header = npy_header("<f4", (room, dimension))
        try:
            with path.open("xb") as file:
                file.write(header)
                file.flush()
                os.posix_fallocate(file.fileno(), 0, len(header) + 4 * room * dimension)
            return self._mapped(path, room, dimension, len(header), "r+")
        except BaseException:
            self._in_use.discard(path.name)
            path.unlink(missing_ok=True)
            raise

    def opened(self, name: str, room: int, dimension: int, *, writable: bool) -> Vectors:
        """The rows of a file that a snapshot names; they are not checked, but their shape is.

        Raises:
            OSError: there is no such file.
            ValueError: it is something else.
        """
        path = self._directory / name
        header = npy_header("<f4", (room, dimension))
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != len(header) + 4 * room * dimension or file.read(len(header)) != header:
                raise ValueError(f"{name} is no array of {room} rows")
        self._in_use.add(name)
        return self._mapped(path, room, dimension, len(header), "r+" if writable else "r")

    def in_use(self, name: str) -> bool:
        """Whether an array in that file may still be read."""
        return name in self._in_use

    def written(self, rows: Vectors, count: int) -> tuple[str, str]:
        """File of these rows and SHA-256 of the first `count` of them, which are on the disk."""
        mapped = rows.base
        assert isinstance(mapped, np.memmap)
        name = Path(str(mapped.filename)).name
        if self._digests.get(name, (-1, ""))[0] != count:
            mapped.flush()
            self._digests[name] = (count, digest(rows, count))
        return name, self._digests[name][1]

    def _mapped(
        self, path: Path, room: int, dimension: int, offset: int, mode: Literal["r", "r+"]
    ) -> Vectors:
        mapped = np.memmap(path, np.dtype("<f4"), mode, offset, (room, dimension))
        weakref.finalize(mapped, self._release, path.name)
        # Its base keeps the file; to take rows of a memmap itself is several times slower.
        return mapped.view(np.ndarray)

    def _release(self, name: str) -> None:
        self._in_use.discard(name)
        self._digests.pop(name, None)


def digest(rows: Vectors, count: int) -> str:
    """SHA-256 of the first `count` rows."""
    return hashlib.sha256(rows[:count].reshape(-1).view(np.uint8).data).hexdigest()
