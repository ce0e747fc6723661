"""Rows of numbers that may be too many for memory."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from app.errors import Unavailable

IN_MEMORY = 1 << 22  # bytes; a minute of samples

Rows = NDArray[np.float32]  # (n, …)


class Spool:
    """Takes rows of one shape in order; beyond IN_MEMORY they lie in a file.

    The file has no name: it goes with `close` and the last array over it, or with the process.

    Args:
        directory: where the file lies; None is the system's place for temporary files.
        row: the shape of a row.
    """

    def __init__(self, directory: Path | None, row: tuple[int, ...] = ()) -> None:
        self._directory = directory
        self._row = row
        self._held: list[Rows] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Rows) -> None:
        """Raises Unavailable when the disk takes no more."""
        if not len(rows):
            return
        self._count += len(rows)
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > IN_MEMORY:
            self._write()

    def finish(self) -> Rows:
        """All rows, as an array or a read-only np.memmap. Raises Unavailable."""
        if self._file is None:
            return np.concatenate([np.empty((0, *self._row), np.float32), *self._held])
        self._write()
        shape = (self._count, *self._row)
        found: Rows = np.memmap(self._file, np.float32, "r", shape=shape)
        self.close()  # the mapping holds a descriptor of its own
        return found

    def close(self) -> None:
        """Give up the file; arrays that `finish` gave stay."""
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(  # noqa: SIM115  # `close` closes it
                    dir=self._directory, buffering=0
                )
            for rows in self._held:
                left = np.ascontiguousarray(rows).data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        except OSError as exc:
            raise Unavailable("The disk does not take this audio.") from exc
        self._held, self._held_bytes = [], 0


def blocks(rows: Rows, length: int) -> Iterator[Rows]:
    """Consecutive stretches of up to `length` rows.

    What is read of a np.memmap on the way does not stay in memory. A block is a view.
    """
    for start in range(0, len(rows), length):
        yield rows[start : start + length]
        release(rows)


def release(rows: Rows) -> None:
    """Take the pages of a np.memmap out of the process's memory; the next look reads them again."""
    if isinstance(rows.base, mmap.mmap):
        rows.base.madvise(mmap.MADV_DONTNEED)
