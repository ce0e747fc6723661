"""A library as the service runs it, with its database and its upkeep, in this process."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app import garbage
from app.data_dir import Ownership
from app.library import Library
from app.library.imports import add_rows, begin
from app.settings import load_settings
from app.store.imports import ImportedClip
from index.contract import Vectors
from scripts.index_benchmark.dataset import Dataset
from scripts.index_benchmark.service import SETTLED_POLLS, fill, model_for


@contextlib.contextmanager
def library(data: Dataset, rows: int, model: str | None) -> Iterator[Library]:
    """Of the first `rows` vectors, each the clip of its row + 1, its index in its final form."""
    with tempfile.TemporaryDirectory(dir=data.directory, prefix="live-") as directory:
        settings = load_settings(
            data_dir=Path(directory) / "data",
            outputs_dir=Path(directory) / "outputs",
            model=model or model_for(data),
        )
        _opened(settings.data_dir, settings.model, settings.outputs_dir).close()
        fill(settings.data_dir / "emoseek.db", data.base[:rows])
        library = _opened(settings.data_dir, settings.model, settings.outputs_dir)
        try:
            settle(library)
            garbage.set_aside()  # as when the service is ready
            yield library
        finally:
            library.close()


def _opened(data_dir: Path, model: str, outputs_dir: Path) -> Library:
    settings = load_settings(data_dir=data_dir, model=model, outputs_dir=outputs_dir)
    return Library(settings, Ownership(settings.data_dir))


def settle(library: Library) -> float:
    """Wait until the index is built and its upkeep has nothing to do; seconds to that."""
    begun = settled = time.perf_counter()
    polls, before = 0, None
    while polls < SETTLED_POLLS:
        now = library.index.state, library.index.build, library.index.memory_bytes
        if now != before:
            settled, polls = time.perf_counter(), 0
        polls += now[0] == "ready"
        before = now
        time.sleep(1)
    return settled - begun


class Adding(threading.Thread):
    """Imports the rows of `base` from `stored` on, `block` at a time, each block when it is due."""

    def __init__(
        self, library: Library, base: Vectors, stored: int, rate: float, block: int
    ) -> None:
        super().__init__(daemon=True)
        self.block = block
        self.stored = stored  # rows that a search which begins now must see
        self.longest = 0.0  # ms that a block took
        self.rate = rate  # then what was reached
        self._library, self._base = library, base
        self._over = threading.Event()

    def run(self) -> None:
        first, begun = self.stored, time.perf_counter()
        key, dimension = secrets.token_hex(32), self._base.shape[1]
        rows = len(self._base) - first
        begin(self._library, key, None, rows=rows, dimension=dimension, highest_id=None)
        for start in range(first, len(self._base), self.block):
            wait = begun + (start - first) / self.rate - time.perf_counter()
            if self._over.wait(max(0.0, wait)):
                break
            block = np.asarray(self._base[start : start + self.block])
            ids = np.arange(start, start + len(block)) + 1
            said = [ImportedClip()] * len(block)
            started = time.perf_counter()
            add_rows(self._library, key, None, start - first, block, said, ids)
            self.longest = max(self.longest, (time.perf_counter() - started) * 1000)
            self.stored = start + len(block)
        self.rate = (self.stored - first) / (time.perf_counter() - begun)

    def stop(self) -> None:
        self._over.set()
        self.join()
