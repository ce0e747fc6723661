"""Fixtures: libraries of this process, and a second model for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.library import Library, index_check
from app.recogniser import Source
from tests.library import spaces_rig as rig
from tests.library.index_check_rig import CLIPS, DataDir, lower_thresholds


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of one database."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_url")}


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[..., Library]]:
    """Opens the library in the test's directory as the next process would."""
    with contextlib.ExitStack() as stack:

        def open_one(**settings: Any) -> Library:
            stack.close()
            library = rig.opened(tmp_path, **settings)
            stack.callback(library.close)
            return library

        yield open_one


@pytest.fixture
def library(reopen: Callable[..., Library]) -> Library:
    return reopen()


@pytest.fixture
def second(second_model: Path) -> Source:
    return rig.source(second_model)


@pytest.fixture(params=["flat", "graph"])
def data_dir(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DataDir]:
    """CLIPS clips, some added after the build, and some removed: 4 and 41."""
    lower_thresholds(monkeypatch, request.param)
    data_dir = DataDir(tmp_path)
    for _ in range(CLIPS - 10):
        data_dir.commit()
    data_dir.index.rebuild()
    for _ in range(10):
        data_dir.add()
    for clip_id in (4, 41):
        data_dir.delete(clip_id)
        data_dir.index.remove([clip_id])
    assert data_dir.index.kind == request.param
    yield data_dir
    data_dir.store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "PATIENCE", 0.0)
