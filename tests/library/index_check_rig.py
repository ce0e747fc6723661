"""An index over a store, to be damaged and compared with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import index.build
import index.flat
import index.graph_index
from app.library import index_check
from app.library.files import index_directory
from app.library.index_check import IndexCheck
from app.library.live_index import LiveIndex
from index.graph_index import GraphIndex
from index.segments import Segments
from tests.library.test_live_index import DIMENSION, MODEL, PRIOR, Rig

CLIPS = 45


class DataDir(Rig):
    """A rig whose index lies where a service has it."""

    def open(self) -> None:
        directory = index_directory(self.directory, MODEL)
        self.index = LiveIndex(self.store, directory, MODEL, self.model_row, PRIOR)

    @property
    def segments(self) -> Segments:
        engine = self.index.current().index
        return engine.segments if isinstance(engine, GraphIndex) else engine._segments

    def found(self, go_on: Callable[[], None] = lambda: None) -> IndexCheck:
        return index_check.check(self.store, self.model_row, self.index, go_on)

    def row(self, clip_id: int) -> np.ndarray:
        """Of the clip in the index, to be written to."""
        for segment in self.segments:
            for place in np.flatnonzero(segment.live & (segment.ids == clip_id)):
                return segment.rows[place]
        raise AssertionError(clip_id)


def lower_thresholds(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "graph":
        monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 20)
    monkeypatch.setattr(index.graph_index, "OPEN", 2)
    for module in (index.graph_index, index.flat):
        monkeypatch.setattr(module, "rows_of_segment", lambda dimension: 16)
    monkeypatch.setattr(index_check, "PAGE", 7)
    monkeypatch.setattr(index_check, "BLOCK", 3)
