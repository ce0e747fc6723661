"""Files of a snapshot: arrays written through to the disk, and read back with nothing evaluated."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids
from index.cosine import has_repeats
from index.errors import SnapshotError
from index.manifest import FileRecord

DTYPES = {"ids": "<i8", "directions": "<f4", "mean": "<f4", "projection": "<f4"}


def check_ids(ids: Ids) -> None:
    """Raises SnapshotError: ids (n,) that were read are no different ids."""
    if len(ids) and (ids.min() < 1 or has_repeats(ids)):
        raise SnapshotError("ids are below 1 or repeated")


def write_array(
    path: Path, dtype: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
) -> str:
    """Write a .npy file from blocks of its first axis; returns its SHA-256."""

    def pieces() -> Iterable[bytes | memoryview]:
        yield npy_header(dtype, shape)
        for block in blocks:
            yield np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data

    return write(path, pieces())


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Of .npy format 1.0, for an array in C order."""
    fields = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(10 + len(fields) + 1) % 64
    text = (fields + " " * padding + "\n").encode("ascii")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def write(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """Write a file through to the disk; returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def read_array(
    directory: Path, record: FileRecord, kind: str, shape: tuple[int, ...], step: int
) -> list[NDArray[Any]]:
    """A .npy file of this dtype and shape, in blocks of `step` rows, one at least.

    Raises:
        SnapshotError
    """
    dtype, header = np.dtype(kind), npy_header(kind, shape)
    digest = hashlib.sha256()
    blocks = []
    try:
        with (directory / record.name).open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            wanted = len(header) + dtype.itemsize * int(np.prod(shape, dtype=object))
            if found != wanted:  # before room is made for what a false manifest may claim
                raise SnapshotError(f"{record.name} has {found} bytes, wanted {wanted}")
            if file.read(len(header)) != header:
                raise SnapshotError(f"{record.name} is not a {dtype} array of shape {shape}")
            digest.update(header)
            for start in range(0, max(shape[0], 1), step):
                block = np.empty((min(step, shape[0] - start), *shape[1:]), dtype)
                file.readinto(block.reshape(-1).view(np.uint8).data)
                digest.update(block.reshape(-1).view(np.uint8).data)
                blocks.append(block)
    except FileNotFoundError as error:
        raise SnapshotError(f"{record.name} is missing") from error
    if digest.hexdigest() != record.sha256:
        raise SnapshotError(f"{record.name} is damaged: its checksum differs")
    return blocks


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
