"""An index on disk: written beside the last one, put in place by one rename.

A directory holds `manifest.json` and the .npy files that it names: `ids`, `directions` and
`mean`, each with a token of its own save in the name. The new files are made durable first;
renaming the new manifest over the old one is the moment of change; only then do the files go
that no manifest names. A process killed anywhere in between leaves the old or the new snapshot.
One process owns a directory; within it, saves and loads take turns.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from index.contract import VectorIndex, Vectors
from index.errors import SnapshotError
from index.flat import FlatIndex, rows_of_segment
from index.manifest import FORMAT, METRIC, FileRecord, Manifest, file_name, is_file_name

MANIFEST: Final = "manifest.json"
_NEW_MANIFEST: Final = "manifest.json.new"
_DTYPES: Final = {"ids": "<i8", "directions": "<f4", "mean": "<f4"}
_LENGTH_TOLERANCE: Final = 2.0**-22  # of a direction's squared length; float32 rounds by 2^-23

_in_turn = threading.Lock()


def save(
    index: VectorIndex,
    directory: Path,
    *,
    model_digest: str,
    build: int,
    built_on: int | None = None,
) -> Manifest:
    """Put what `index` holds at this moment in `directory`, durably, in place of the last snapshot.

    `build` and `built_on` (clips that the mean was taken from) are only noted in the manifest.

    Adds, removes and searches go on meanwhile. Removed vectors are not written, and no file of
    an earlier save remains.

    Raises:
        OSError: the disk refused. The last snapshot or this one is in place, whole.
    """
    with _in_turn:
        if not directory.is_dir():
            directory.mkdir(parents=True)
            _sync_directory(directory.parent)
        stored, token = index.stored(), secrets.token_hex(8)
        count, dimension = len(stored.ids), index.dimension
        parts: dict[str, tuple[tuple[int, ...], Iterable[NDArray[Any]]]] = {
            "ids": ((count,), [stored.ids]),
            "directions": ((count, dimension), stored.directions),
            "mean": ((dimension,), [index.mean]),
        }
        try:
            files = {}
            for role, (shape, blocks) in parts.items():
                name = file_name(role, token)
                sha256 = _write_array(directory / name, _DTYPES[role], shape, blocks)
                files[role] = FileRecord(name, sha256)
            manifest = Manifest(
                FORMAT, METRIC, model_digest, dimension, count, build, built_on, files
            )
            _write(directory / _NEW_MANIFEST, [manifest.encoded()])
            _sync_directory(directory)  # the files' names before the manifest that relies on them
        except BaseException:
            for role in parts:
                (directory / file_name(role, token)).unlink(missing_ok=True)
            raise
        os.replace(directory / _NEW_MANIFEST, directory / MANIFEST)
        _sync_directory(directory)
        _remove_unnamed(directory, manifest)
        return manifest


def load(directory: Path, *, model_digest: str, dimension: int) -> tuple[FlatIndex, Manifest]:
    """The index saved in `directory`, every byte of it checked.

    Raises:
        SnapshotNotFoundError: there is none.
        SnapshotError: it is damaged, or of another model, dimension or format; nothing is loaded.
    """
    with _in_turn:
        manifest = Manifest.read(directory / MANIFEST)
        manifest.check_made_for(model_digest, dimension)
        count, room = manifest.count, rows_of_segment(dimension)
        [mean] = _read_array(directory, manifest, "mean", (dimension,), dimension)
        [ids] = _read_array(directory, manifest, "ids", (count,), max(count, 1))
        directions = _read_array(directory, manifest, "directions", (count, dimension), room)
    if not np.isfinite(mean).all():
        raise SnapshotError("the mean is not finite")
    if count and (ids.min() < 1 or len(np.unique(ids)) != count):
        raise SnapshotError("ids are below 1 or repeated")
    if not all(map(_are_directions, directions)):
        raise SnapshotError("directions are not of length 1")
    parts = [(ids[at * room : (at + 1) * room], rows) for at, rows in enumerate(directions)]
    return FlatIndex.of_directions(mean, parts), manifest


def _are_directions(rows: Vectors) -> bool:
    wide = rows.astype(np.float64)
    squared = np.vecdot(wide, wide)  # NaN and infinity fail both comparisons
    return bool(((np.abs(squared - 1) <= _LENGTH_TOLERANCE) | (squared == 0)).all())


def _write_array(
    path: Path, dtype: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
) -> str:
    """Write a .npy file from blocks of its first axis; returns its SHA-256."""

    def pieces() -> Iterable[bytes | memoryview]:
        yield _npy_header(dtype, shape)
        for block in blocks:
            yield np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data

    return _write(path, pieces())


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Of .npy format 1.0, for an array in C order."""
    fields = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(10 + len(fields) + 1) % 64
    text = (fields + " " * padding + "\n").encode("ascii")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """Write a file through to the disk; returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read_array(
    directory: Path, manifest: Manifest, role: str, shape: tuple[int, ...], step: int
) -> list[NDArray[Any]]:
    """A .npy file in blocks of `step` rows, one at least. Nothing in it is evaluated.

    Raises:
        SnapshotError
    """
    record, dtype = manifest.files[role], np.dtype(_DTYPES[role])
    header = _npy_header(_DTYPES[role], shape)
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


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unnamed(directory: Path, manifest: Manifest) -> None:
    named = {record.name for record in manifest.files.values()}
    for path in directory.iterdir():
        if is_file_name(path.name) and path.name not in named:
            path.unlink()
    _sync_directory(directory)
