"""The moment in which two models change places."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.domain import ClipFilter
from app.errors import Unavailable
from app.library import Library
from app.library.commit_lock import CommitLock
from app.library.filter_columns import FilterColumns
from app.library.hear import Hearing
from app.library.imports import add_rows, begin
from app.library.roles import Roles
from app.recogniser import Source
from app.recogniser.sources import BUNDLED_ID
from app.store import Store, models
from app.store.imports import ImportedClip
from tests.library import spaces_rig as rig
from tests.library.spaces_rig import Open


class TestCommitLock:
    def test_many_at_once_and_one_alone(self) -> None:
        lock, order = CommitLock(), []
        arrived, may_leave = threading.Barrier(3), threading.Event()

        def commit() -> None:
            with lock.shared():
                arrived.wait(10)  # or else they were not there together
                may_leave.wait(10)
                order.append("commit")

        def switch() -> None:
            with lock.alone():
                order.append("switch begins")
                assert not late.done()
                order.append("switch ends")

        def commit_late() -> None:
            with lock.shared():
                order.append("late")

        with ThreadPoolExecutor(4) as pool:
            commits = [pool.submit(commit) for _ in range(2)]
            arrived.wait(10)
            alone = pool.submit(switch)
            while not lock._alone:
                pass
            late = pool.submit(commit_late)
            assert not alone.done()
            may_leave.set()
            for one in (*commits, alone, late):
                one.result(10)
        assert order == ["commit", "commit", "switch begins", "switch ends", "late"]

    def test_two_who_want_it_alone(self) -> None:
        lock, inside = CommitLock(), []

        def switch() -> None:
            for _ in range(200):
                with lock.alone():
                    inside.append(1)
                    assert len(inside) == 1
                    inside.pop()

        with ThreadPoolExecutor(2) as pool:
            for one in [pool.submit(switch) for _ in range(2)]:
                one.result(10)

    def test_an_error_gives_it_back(self) -> None:
        lock = CommitLock()
        for kind in (lock.shared, lock.alone, lock.shared):
            with pytest.raises(KeyError), kind():
                raise KeyError


def test_a_commit_that_happened_although_it_raised(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.post(library, 0)
    before = rig.scores(library)
    rig.hear_again(library, library.roles.open_beside(second))
    write = Store.write

    @contextlib.contextmanager
    def drop_the_connection(self: Store) -> Iterator[Any]:
        with write(self) as session:
            yield session
        raise Unavailable("The database does not answer; try again later.")

    @contextlib.contextmanager
    def fail(self: Store) -> Iterator[Any]:
        with write(self) as session:
            yield session
            raise Unavailable("The database does not answer; try again later.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", fail)
        with pytest.raises(Unavailable):
            library.roles.switch()
    assert library.recogniser.info.id == BUNDLED_ID
    assert rig.scores(library) == before
    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", drop_the_connection)
        library.roles.switch()
    assert library.recogniser.info.id == second.id
    assert rig.scores(library) != before


def test_asked_for_again_where_nobody_knew_whether_it_happened(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id = rig.post(library, 0)
    rig.hear_again(library, library.roles.open_beside(second))
    told = library.summaries.of([clip_id])
    write = Store.write

    @contextlib.contextmanager
    def no_answer_any_more(self: Store) -> Iterator[Any]:
        with write(self) as session:
            yield session
        raise Unavailable("The database does not answer; try again later.")

    def no_answer(*_: Any) -> bool:
        raise Unavailable("The database does not answer; try again later.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", no_answer_any_more)
        broken.setattr(Roles, "_is_active", no_answer)
        with pytest.raises(Unavailable):
            library.roles.switch()
    assert library.summaries.of([clip_id]) != told  # of the other model
    library.roles.switch()
    assert library.recogniser.info.id == second.id
    with library.store.read() as session:
        assert models.active(session) == library.recogniser.info
    assert {digest for digest, *_ in rig.scores(library).values()} == {
        library.recogniser.info.digest
    }


def test_switches_beside_posts_searches_and_deletions(
    reopen: Open, second: Source, database: dict[str, str]
) -> None:
    library = reopen(**database)
    first = [rig.post(library, seed) for seed in range(5)]
    rig.hear_again(library, library.roles.open_beside(second))
    over = threading.Event()

    def post(worker: int) -> list[int]:
        stored, seed = [], 1000 * worker
        while not over.is_set():
            stored.append(rig.post(library, seed := seed + 1))
            if seed % 3 == 0:
                assert library.forget(stored.pop())
            elif seed % 3 == 1:
                library.change(stored[-1], {"customer_id": f"c{worker}"})
        return stored

    def search() -> int:
        count = 0
        while not over.is_set():
            assert {i for i, _ in rig.neighbours(library, first[0])} >= set(first[1:])
            count += 1
        return count

    with ThreadPoolExecutor(5) as pool:
        posts = [pool.submit(post, worker) for worker in (1, 2, 3)]
        searches = [pool.submit(search) for _ in range(2)]
        try:
            for _ in range(5):
                before = {len(rig.indexed(space)) for space in library.spaces}
                library.roles.switch()
                while max(len(rig.indexed(space)) for space in library.spaces) <= max(before):
                    assert not any(one.done() for one in (*posts, *searches))
        finally:
            over.set()
        later = [clip_id for one in posts for clip_id in one.result()]
        assert all(one.result() for one in searches)
    ids = sorted([*first, *later])
    for _ in range(2):
        said = rig.scores(library)
        assert sorted(said) == ids
        assert {digest for digest, *_ in said.values()} == {library.recogniser.info.digest}
        assert rig.indexed(library.spaces.active) == ids
        library.roles.switch()
    assert library.recogniser.info.id == second.id


def import_rows(library: Library, _: int) -> None:
    begin(library, "k", None, rows=1, dimension=192, highest_id=None)
    vectors = np.ones((1, 192), np.float32)
    add_rows(library, "k", None, 0, vectors, [ImportedClip()], None)


@pytest.mark.parametrize(
    ("act", "follows"),
    [
        (lambda library, _: rig.post(library, 1), "add"),
        (lambda library, clip_id: library.forget(clip_id), "remove"),
        (lambda library, clip_id: library.change(clip_id, {"call_id": "c"}), "refresh"),
        (import_rows, "refresh"),
    ],
)
def test_a_switch_waits_for_what_follows_from_a_commit(
    library: Library,
    second: Source,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Library, int], Any],
    follows: str,
) -> None:
    clip_id = rig.post(library, 0)
    rig.hear_again(library, library.roles.open_beside(second))
    follow, switched = getattr(FilterColumns, follows), threading.Event()
    switch = threading.Thread(target=lambda: (library.roles.switch(), switched.set()))

    def follow_late(self: FilterColumns, *of: Any, **options: Any) -> None:
        if not switch.ident:
            switch.start()
            assert not switched.wait(0.3)
        follow(self, *of, **options)

    monkeypatch.setattr(FilterColumns, follows, follow_late)
    act(library, clip_id)
    switch.join(10)
    assert library.recogniser.info.id == second.id
    rig.scores(library)


def test_filters_follow_in_the_same_moment(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes a clip meanwhile waits, and nothing of the change is lost."""
    ids = [rig.post(library, seed) for seed in range(4)]
    rig.hear_again(library, library.roles.open_beside(second))
    write, changed = Store.write, threading.Event()

    def change() -> None:
        library.change(ids[0], {"customer_id": "c"})
        changed.set()

    other = threading.Thread(target=change)

    @contextlib.contextmanager
    def with_a_change_on_its_way(self: Store) -> Iterator[Any]:
        with write(self) as session:
            yield session
            if threading.current_thread() is not other:
                other.start()
                assert not changed.wait(0.1)

    monkeypatch.setattr(Store, "write", with_a_change_on_its_way)
    library.roles.switch()
    other.join(10)
    assert library.filters.ids(ClipFilter(customer_id="c")).tolist() == ids[:1]
    assert len(rig.scores(library)) == 4


def test_two_switches_while_a_clip_is_heard_leave_out_neither_model(
    reopen: Open, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = reopen()
    library.roles.open_beside(second)
    hear_beside = Hearing.hear_beside

    def switch_before_and_after(self: Hearing) -> None:
        monkeypatch.setattr(Hearing, "hear_beside", hear_beside)
        library.roles.switch()
        hear_beside(self)  # of the model that has just heard it
        library.roles.switch()

    monkeypatch.setattr(Hearing, "hear_beside", switch_before_and_after)
    clip_id = rig.post(library, 1)
    assert [rig.indexed(space) for space in library.spaces] == [[clip_id], [clip_id]]
