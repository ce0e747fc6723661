"""Of the tests that compare an index with its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.library import index_check
from tests.library.index_check_rig import CLIPS, DataDir, lower_thresholds


@pytest.fixture(params=["flat", "graph"])
def data_dir(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DataDir]:
    """CLIPS clips, some added after the build, and some removed: 4 and 41."""
    lower_thresholds(monkeypatch, request.param)
    rig = DataDir(tmp_path)
    for _ in range(CLIPS - 10):
        rig.commit()
    rig.index.rebuild()
    for _ in range(10):
        rig.add()
    for clip_id in (4, 41):
        rig.delete(clip_id)
        rig.index.remove([clip_id])
    assert rig.index.kind == request.param
    yield rig
    rig.store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "PATIENCE", 0.0)
