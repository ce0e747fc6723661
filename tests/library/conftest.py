"""Fixtures: libraries of this process, and a second model for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.library import Library
from app.recogniser import Source
from tests.library import spaces_rig as rig


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
