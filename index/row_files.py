"""Rows in mapped files: the kernel keeps in memory what is used, and a snapshot has them there."""

from __future__ import annotations

import hashlib
import os
import secrets
import weakref
from pathlib import Path

import numpy as np

from index.contract import Vectors
from index.manifest import file_name


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
        try:
            rows = np.lib.format.open_memmap(
                path, "w+", np.dtype("<f4"), shape=(room, dimension), version=(1, 0)
            )
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except BaseException:
            self._in_use.discard(path.name)
            path.unlink(missing_ok=True)
            raise
        weakref.finalize(rows, self._release, path.name)
        made: Vectors = rows
        return made

    def opened(self, name: str, room: int, dimension: int, *, writable: bool) -> Vectors:
        """The rows of a file that a snapshot names, not checked.

        Raises:
            OSError, ValueError: it is not such a file.
        """
        path = self._directory / name
        rows = np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)
        if rows.shape != (room, dimension) or rows.dtype != np.dtype("<f4"):
            raise ValueError(f"{name} has {rows.dtype} {rows.shape}")
        self._in_use.add(name)
        weakref.finalize(rows, self._release, name)
        opened: Vectors = rows
        return opened

    def in_use(self, name: str) -> bool:
        """Whether an array in that file may still be read."""
        return name in self._in_use

    def written(self, rows: Vectors, count: int) -> tuple[str, str]:
        """File of these rows and SHA-256 of the first `count` of them, which are on the disk."""
        assert isinstance(rows, np.memmap)
        name = Path(str(rows.filename)).name
        if self._digests.get(name, (-1, ""))[0] != count:
            rows.flush()
            self._digests[name] = (count, digest(rows, count))
        return name, self._digests[name][1]

    def _release(self, name: str) -> None:
        self._in_use.discard(name)
        self._digests.pop(name, None)


def digest(rows: Vectors, count: int) -> str:
    """SHA-256 of the first `count` rows."""
    return hashlib.sha256(rows[:count].reshape(-1).view(np.uint8).data).hexdigest()
