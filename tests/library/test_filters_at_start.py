"""Filters are read beside the start; who needs them waits, nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain import ClipFilter
from app.errors import Unavailable
from app.library import Library
from app.library.filter_columns import FilterColumns
from app.library.search import Wanted, similar
from app.store import Store
from tests.library import spaces_rig as rig


def test_a_filter_waits_until_filters_are_read_and_other_searches_do_not(
    reopen: Callable[..., Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reopen()
    ids = [rig.post(first, 1), rig.post(first, 2)]
    go_on = threading.Event()

    def read_later(store: Store) -> FilterColumns:
        go_on.wait(60)
        return FilterColumns(store)

    monkeypatch.setattr("app.library.library.FilterColumns", read_later)
    library = reopen()
    try:
        [found] = similar(library, ids[:1], Wanted())
        assert [near.clip.id for near in found.neighbours] == ids[1:]  # type: ignore[union-attr]
        with ThreadPoolExecutor(1) as client:
            filtered = Wanted(where=ClipFilter(min_confidence=0.0))
            waiting = client.submit(similar, library, ids[:1], filtered)
            assert not waiting.done()
            go_on.set()
            [found] = waiting.result()
        assert [near.clip.id for near in found.neighbours] == ids[1:]  # type: ignore[union-attr]
    finally:
        go_on.set()


def test_filters_that_could_not_be_read_are_read_again(
    reopen: Callable[..., Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id = rig.post(reopen(), 1)
    tries: list[Store] = []

    def fail_once(store: Store) -> FilterColumns:
        tries.append(store)
        if len(tries) == 1:
            raise Unavailable("not now")
        return FilterColumns(store)

    monkeypatch.setattr("app.library.library.FilterColumns", fail_once)
    library = reopen()
    with pytest.raises(Unavailable):
        library.filters.ids(ClipFilter())
    assert library.filters.ids(ClipFilter()).tolist() == [clip_id]
    assert len(tries) == 2
