"""Collections of cyclic garbage do not go through what a service lives with."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from app import garbage
from app.library import Library
from app.main import create_app
from app.settings import load_settings
from tests.library import spaces_rig as rig


class Cycle:
    def __init__(self) -> None:
        self.itself = self


class NoLibrary:
    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_what_lives_is_left_out_and_what_was_given_up_is_collected() -> None:
    living, given_up = [[]], Cycle()
    gc.freeze()
    gone = weakref.ref(given_up)
    del given_up
    garbage.set_aside()
    assert gone() is None
    assert not any(one is living for one in gc.get_objects())


def test_a_service_sets_aside_what_it_has_at_its_start(tmp_path: Path) -> None:
    async def frozen_when_ready() -> int:
        opened = cast(Any, NoLibrary)
        app = create_app(load_settings(data_dir=tmp_path), opened, pytest.fail)
        async with app.router.lifespan_context(app):
            while app.state.library is None:
                await asyncio.sleep(0.01)
            return gc.get_freeze_count()

    gc.unfreeze()
    assert asyncio.run(frozen_when_ready()) > 10_000


def test_a_closed_model_needs_no_collection(tmp_path: Path, second_model: Path) -> None:
    library: Library = rig.opened(tmp_path)
    try:
        space = library.roles.open_beside(rig.source(second_model))
        gc.collect()
        gc.disable()
        parts = [weakref.ref(one) for one in (space.recogniser, space.index)]
        library.roles.close_beside()
        del space
        end = time.monotonic() + 10  # its threads end by themselves
        while any(part() is not None for part in parts) and time.monotonic() < end:
            time.sleep(0.01)
        assert [part() for part in parts] == [None, None]
    finally:
        library.close()
