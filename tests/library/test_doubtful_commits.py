"""A commit that fails may have happened: what is told afterwards is what is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from app.domain import ClipFields, ClipFilter
from app.errors import Unavailable
from app.library import Library
from app.library.imports import add_rows, begin
from app.library.search import Found, Neighbour, Wanted, similar
from app.store import Session
from app.store.imports import ImportedClip
from tests.library import spaces_rig as rig

Doubt = Callable[[], contextlib.AbstractContextManager[None]]
KEY = "f" * 64


@pytest.fixture
def in_doubt(library: Library, monkeypatch: pytest.MonkeyPatch) -> Doubt:
    """Within it, every commit happens and is said to have failed."""
    write = library.store.write

    @contextlib.contextmanager
    def doubtful() -> Iterator[Session]:
        with write() as session:
            yield session
        raise Unavailable("The connection was lost.")

    @contextlib.contextmanager
    def during() -> Iterator[None]:
        with monkeypatch.context() as patch, pytest.raises(Unavailable):
            patch.setattr(library.store, "write", doubtful)
            yield

    return during


def post(library: Library, seed: int, customer: str) -> int:
    return rig.post(library, seed, fields=ClipFields(customer_id=customer))


def told(library: Library, clip_id: int, **wanted: Any) -> dict[int, str | None]:
    """Neighbours of a clip, and their customers."""
    [found] = similar(library, [clip_id], Wanted(k=50, where=ClipFilter(**wanted)))
    assert isinstance(found, Found)
    return {near.clip.id: near.clip.customer_id for near in found.neighbours}


def delete_one(library: Library, clip_id: int) -> None:
    library.forget(clip_id)


def delete_matching(library: Library, clip_id: int) -> None:
    library.forget_matching(ClipFilter(customer_id=f"c{clip_id}"))


@pytest.mark.parametrize("delete", [delete_one, delete_matching])
def test_a_clip_that_was_deleted_is_not_found(
    library: Library, in_doubt: Doubt, delete: Callable[[Library, int], None]
) -> None:
    first, second, third = (post(library, seed, f"c{seed}") for seed in (1, 2, 3))
    assert set(told(library, first)) == {second, third}  # from now on in memory
    with in_doubt():
        delete(library, second)
    assert set(told(library, first)) == {third}
    assert not told(library, first, customer_id="c2")
    library.index.audit()
    assert rig.indexed(library.spaces.active) == [first, third]
    assert len(library.filters) == 2


@pytest.mark.parametrize("k", [1, 2, 3])
def test_others_take_the_place_of_deleted_clips(library: Library, in_doubt: Doubt, k: int) -> None:
    clip_ids = [post(library, seed, f"c{seed}") for seed in range(1, 8)]
    nearest = [one.clip.id for one in neighbours(library, clip_ids[0], 6)]
    for clip_id in nearest[:3]:
        with in_doubt():
            delete_one(library, clip_id)
    assert len(library.index) == 7
    for where in (ClipFilter(), ClipFilter(min_confidence=0.0)):
        found = neighbours(library, clip_ids[0], k, where)
        assert [one.clip.id for one in found] == nearest[3 : 3 + k]


def test_a_clip_that_was_changed_is_told_as_it_is(library: Library, in_doubt: Doubt) -> None:
    first, second = (post(library, seed, "old") for seed in (1, 2))
    assert told(library, first) == {second: "old"}
    with in_doubt():
        library.change(second, {"customer_id": "new"})
    assert told(library, first) == told(library, first, customer_id="new") == {second: "new"}


def test_a_change_that_filters_could_not_take_over_is_told(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (post(library, seed, "old") for seed in (1, 2))
    assert told(library, first) == {second: "old"}

    def fail(clip_ids: list[int]) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(library.filters, "refresh", fail)
        library.change(second, {"customer_id": "new"})
    assert told(library, first) == {second: "new"}


def test_an_embedding_that_is_not_finite_fails_alone(library: Library) -> None:
    begin(library, KEY, None, rows=3, dimension=192, highest_id=None)
    vectors = np.random.default_rng(1).standard_normal((3, 192)).astype(np.float32)
    add_rows(library, KEY, None, 0, vectors, [ImportedClip()] * 3, None)
    spoil(library, 2)
    library.index.remove([2])
    found = similar(library, [1, 2, 3], Wanted())
    assert [isinstance(one, Found) for one in found] == [True, False, True]


def neighbours(
    library: Library, clip_id: int, k: int, where: ClipFilter | None = None
) -> list[Neighbour]:
    [found] = similar(library, [clip_id], Wanted(k=k, where=where or ClipFilter()))
    assert isinstance(found, Found)
    return found.neighbours


def spoil(library: Library, clip_id: int) -> None:
    vector = np.full(192, np.nan, np.float32)
    with library.store.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE embeddings SET vector = ? WHERE clip_id = ?", (vector.tobytes(), clip_id)
        )
