"""New builds from a database: into the exact form, and into the one that the library would take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from app.library.wanted_vectors import PAGE
from app.store import Store, embeddings
from app.store.tables import ModelRow
from index.build import build
from index.contract import Ids, Vectors
from index.flat import FlatIndex
from index.mean import RunningMean, shrunk_mean
from index.row_files import RowFiles
from scripts.index_benchmark.measure import machine


def rebuild(database: Path) -> None:
    """Print how long a build over all stored embeddings takes."""
    print(machine() + "\n", flush=True)
    store = Store(f"sqlite:///{database}")
    with store.read() as session:
        model_row, dimension = session.execute(
            select(ModelRow.id, ModelRow.dimension).where(ModelRow.active)
        ).one()

    def read() -> Iterator[tuple[Ids, Vectors]]:
        after = 0
        while True:
            with store.read() as session:
                ids, vectors = embeddings.page(session, model_row, after, PAGE)
            if not len(ids):
                return
            after = int(ids[-1])
            yield ids, vectors

    begun = time.perf_counter()
    library = RunningMean(dimension)
    for _, vectors in read():
        library.add(vectors)
    exact = FlatIndex(dimension, shrunk_mean(library.mean(), library.count, None))
    for ids, vectors in read():
        exact.add(ids, vectors)
    seconds = time.perf_counter() - begun
    count = len(exact)
    print(f"exact: {count:,} clips in {seconds:.1f} s, {count / seconds:,.0f} a second", flush=True)
    del exact
    with tempfile.TemporaryDirectory(dir=database.parent) as directory:
        begun = time.perf_counter()
        kind = build(read, dimension, None, RowFiles(Path(directory))).kind
        seconds = time.perf_counter() - begun
    print(f"{kind}: {count:,} clips in {seconds:.1f} s, {count / seconds:,.0f} a second")
    store.close()
