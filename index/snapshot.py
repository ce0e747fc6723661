"""An index on disk: written beside the last one, put in place by one rename.

A directory holds `manifest.json` and the files that it names, each with a token of its own in
the name. The new files are made durable first; renaming the new manifest over the old one is
the moment of change; only then do the files go that no manifest names. A process killed
anywhere in between leaves the old or the new snapshot. One process owns a directory; within it,
saves and loads take turns.
"""

import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from index import graph_snapshot
from index.contract import VectorIndex, Vectors
from index.errors import SnapshotError
from index.flat import FlatIndex
from index.graph_index import GraphIndex
from index.manifest import METRIC, FileRecord, GraphRecord, Manifest, file_name, is_file_name
from index.npy_files import DTYPES, check_ids, read_array, sync_directory, write, write_array
from index.row_files import RowFiles
from index.segments import rows_of_segment

MANIFEST: Final = "manifest.json"
_NEW_MANIFEST: Final = "manifest.json.new"
_LENGTH_TOLERANCE: Final = 2.0**-22  # of a direction's squared length; float32 rounds by 2^-23

_in_turn = threading.Lock()


def save(
    index: FlatIndex | GraphIndex,
    directory: Path,
    *,
    model_digest: str,
    build: int,
    built_on: int | None = None,
    changed: int = 0,
    rows: RowFiles | None = None,
) -> Manifest:
    """Put what `index` holds at this moment in `directory`, durably, in place of the last snapshot.

    `build`, `built_on` (clips that the mean was taken from) and `changed` (those added and removed
    since) are only noted in the manifest. Files of `rows` that are in use stay: another build may
    be under way there.

    Adds, removes and searches go on meanwhile. Removed vectors are not written, and no file of
    an earlier save remains. The rows of a graph index must lie in files of the same directory.

    Raises:
        OSError: the disk refused. The last snapshot or this one is in place, whole.
    """
    with _in_turn:
        if not directory.is_dir():
            directory.mkdir(parents=True)
            sync_directory(directory.parent)
        token = secrets.token_hex(8)
        try:
            graph: GraphRecord | None = None
            if isinstance(index, GraphIndex):
                count, files, graph = graph_snapshot.write(index, directory, token)
            else:
                count, files = _write_flat(index, directory, token)
            manifest = Manifest(
                2 if graph else 1,
                METRIC,
                model_digest,
                index.dimension,
                count,
                build,
                built_on,
                files,
                graph,
                changed,
            )
            write(directory / _NEW_MANIFEST, [manifest.encoded()])
            sync_directory(directory)  # the files' names before the manifest that relies on them
        except BaseException:
            for path in directory.iterdir():
                if is_file_name(path.name) and token in path.name:
                    path.unlink()
            raise
        os.replace(directory / _NEW_MANIFEST, directory / MANIFEST)
        sync_directory(directory)
        _remove_unnamed(directory, manifest, index, rows)
        return manifest


def load(
    directory: Path, *, model_digest: str, dimension: int, rows: RowFiles | None = None
) -> tuple[FlatIndex | GraphIndex, Manifest]:
    """The index saved in `directory`, every byte of it checked.

    Args:
        rows: where the rows of a graph index are read and added, in this directory.

    Raises:
        SnapshotNotFoundError: there is none.
        SnapshotError: it is damaged, or of another model, dimension or format; nothing is loaded.
    """
    with _in_turn:
        manifest = Manifest.read(directory / MANIFEST)
        manifest.check_made_for(model_digest, dimension)
        if manifest.graph is not None:
            found = rows or RowFiles(directory)
            return graph_snapshot.read(directory, manifest, manifest.graph, found), manifest
        return _read_flat(directory, manifest), manifest


def _write_flat(
    index: VectorIndex, directory: Path, token: str
) -> tuple[int, dict[str, FileRecord]]:
    stored = index.stored()
    count, dimension = len(stored.ids), index.dimension
    parts: dict[str, tuple[tuple[int, ...], Iterable[NDArray[Any]]]] = {
        "ids": ((count,), [stored.ids]),
        "directions": ((count, dimension), stored.directions),
        "mean": ((dimension,), [index.mean]),
    }
    files = {}
    for role, (shape, blocks) in parts.items():
        name = file_name(role, token)
        files[role] = FileRecord(name, write_array(directory / name, DTYPES[role], shape, blocks))
    return count, files


def _read_flat(directory: Path, manifest: Manifest) -> FlatIndex:
    count, dimension, room = manifest.count, manifest.dimension, rows_of_segment(manifest.dimension)

    def read(role: str, shape: tuple[int, ...], step: int) -> list[NDArray[Any]]:
        return read_array(directory, manifest.files[role], DTYPES[role], shape, step)

    [mean] = read("mean", (dimension,), dimension)
    [ids] = read("ids", (count,), max(count, 1))
    directions = read("directions", (count, dimension), room)
    if not np.isfinite(mean).all():
        raise SnapshotError("the mean is not finite")
    check_ids(ids)
    if not all(map(_are_directions, directions)):
        raise SnapshotError("directions are not of length 1")
    parts = [(ids[at * room : (at + 1) * room], rows) for at, rows in enumerate(directions)]
    return FlatIndex.of_directions(mean, parts)


def _are_directions(rows: Vectors) -> bool:
    wide = rows.astype(np.float64)
    squared = np.vecdot(wide, wide)  # NaN and infinity fail both comparisons
    return bool(((np.abs(squared - 1) <= _LENGTH_TOLERANCE) | (squared == 0)).all())


def _remove_unnamed(
    directory: Path,
    manifest: Manifest,
    index: FlatIndex | GraphIndex,
    rows: RowFiles | None,
) -> None:
    rows = index.row_files if isinstance(index, GraphIndex) else rows
    for path in directory.iterdir():
        unnamed = is_file_name(path.name) and path.name not in manifest.names
        if unnamed and (rows is None or not rows.in_use(path.name)):
            path.unlink()
    sync_directory(directory)
