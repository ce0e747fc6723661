"""The files of a graph index's snapshot: its rows are in place already, the rest is written."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index.errors import SnapshotError
from index.graph import Beam, Graph
from index.graph_index import GraphIndex
from index.manifest import FileRecord, GraphRecord, Manifest, RowsRecord, file_name
from index.npy_files import DTYPES, check_ids, read_array, write_array
from index.reducer import Reducer
from index.row_files import RowFiles, digest
from index.segments import Segment


def write(
    index: GraphIndex, directory: Path, token: str
) -> tuple[int, dict[str, FileRecord], GraphRecord]:
    """Number of rows, files by role and the rest of the manifest. Removed rows are erased first.

    Raises:
        OSError: the disk refused.
    """
    index.erase()
    segments, graph = index.segments, index.graph
    rows = index.row_files
    records = []
    for segment in segments:
        name, sha256 = rows.written(segment.rows, segment.count)
        records.append(RowsRecord(name, sha256, segment.count))
    ids = np.concatenate([np.where(segment.live, segment.ids, 0) for segment in segments])
    files = {}
    arrays: dict[str, NDArray[Any]] = {
        "ids": ids,
        "mean": index.mean,
        "projection": graph.reducer.projection,
    }
    for role, array in arrays.items():
        path = directory / file_name(role, token)
        files[role] = FileRecord(path.name, write_array(path, DTYPES[role], array.shape, [array]))
    path = directory / file_name("graph", token)
    faiss.write_index(graph.faiss, str(path))
    _sync(path)
    files["graph"] = FileRecord(path.name, _sha256(path))
    beam = index.beam
    record = GraphRecord(beam.width, segments[0].room, tuple(records), beam.usual)
    return len(ids), files, record


def read(directory: Path, manifest: Manifest, record: GraphRecord, rows: RowFiles) -> GraphIndex:
    """The index that a manifest describes.

    Raises:
        SnapshotError: a file is missing, damaged, or does not fit the others.
    """
    count, dimension = manifest.count, manifest.dimension
    files = manifest.files
    [mean] = read_array(directory, files["mean"], DTYPES["mean"], (dimension,), dimension)
    [ids] = read_array(directory, files["ids"], DTYPES["ids"], (count,), count)
    if not np.isfinite(mean).all():
        raise SnapshotError("the mean is not finite")
    check_ids(ids[ids != 0])
    graph = _read_graph(directory, files, dimension)
    if not 0 < graph.covered <= count:
        raise SnapshotError("the graph has more rows than there are")

    def segment(at: int) -> Segment:
        its = record.segments[at]
        room = record.room
        try:
            found = rows.opened(its.name, room, dimension, writable=its.count < room)
        except (OSError, ValueError, EOFError) as error:
            raise SnapshotError(f"{its.name} is missing or no array of its size") from error
        if digest(found, its.count) != its.sha256:
            raise SnapshotError(f"{its.name} is damaged: its checksum differs")
        return Segment.of_rows(found, ids[at * room : at * room + its.count])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        segments = tuple(pool.map(segment, range(len(record.segments))))
    beam = Beam(record.beam, record.usual)
    return GraphIndex(mean, segments, graph, beam=beam, room=record.room, make=rows)


def _read_graph(directory: Path, files: dict[str, FileRecord], dimension: int) -> Graph:
    path = directory / files["graph"].name
    try:
        if _sha256(path) != files["graph"].sha256:
            raise SnapshotError(f"{path.name} is damaged: its checksum differs")
    except FileNotFoundError as error:
        raise SnapshotError(f"{path.name} is missing") from error
    graph = faiss.read_index(str(path))
    if not isinstance(graph, faiss.IndexHNSWSQ):
        raise SnapshotError(f"{path.name} is no graph")
    shape = (dimension, graph.d)
    [projection] = read_array(
        directory, files["projection"], DTYPES["projection"], shape, dimension
    )
    scales = faiss.vector_to_array(faiss.downcast_index(graph.storage).sq.trained)
    return Graph(Reducer(projection, scales), graph)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
