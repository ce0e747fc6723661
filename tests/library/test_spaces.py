"""Two models in one library: both hear what comes, and they change places."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app.library.roles
from app.domain import ClipFilter
from app.library import Library
from app.library.hear import Hearing
from app.recogniser import Source
from app.store import embeddings
from tests.library import spaces_rig as rig

BUNDLED = "emoseek/bundled"
Open = Callable[..., Library]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of one database."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_url")}


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    """Opens the library in the test's directory as the next process would."""
    with contextlib.ExitStack() as stack:

        def open_one(**settings: Any) -> Library:
            stack.close()
            library = rig.opened(tmp_path, **settings)
            stack.callback(library.close)
            return library

        yield open_one


@pytest.fixture
def library(reopen: Open) -> Library:
    return reopen()


@pytest.fixture
def second(second_model: Path) -> Source:
    return rig.source(second_model)


def test_both_hear_and_change_places(
    reopen: Open, second: Source, database: dict[str, str]
) -> None:
    library = reopen(**database)
    ids = [rig.post(library, seed) for seed in range(6)]
    first = rig.scores(library)
    beside = library.roles.open_beside(second)
    assert rig.indexed(beside) == []
    assert rig.hear_again(library, beside) == ids
    assert rig.hear_again(library, beside) == []
    ids.append(rig.post(library, 6))
    assert rig.indexed(beside) == rig.indexed(library.spaces.active) == ids
    assert library.recogniser.info.id == BUNDLED
    assert {**rig.scores(library), **first} == rig.scores(library)  # nothing has changed yet
    for space in library.spaces:
        space.index.rebuild()  # or else maintenance does, and similarities change
    first, near = rig.scores(library), {i: rig.neighbours(library, i) for i in ids}

    library.roles.switch()
    assert library.recogniser.info == beside.model
    assert library.index is beside.index
    now = rig.scores(library)
    assert {digest for digest, *_ in now.values()} == {beside.model.digest}
    assert all(now[clip_id] != first[clip_id] for clip_id in ids)
    emotions = {emotion for _, emotion, *_ in now.values()}
    assert emotions != {emotion for _, emotion, *_ in first.values()}
    other = {clip_id: rig.neighbours(library, clip_id) for clip_id in ids}
    assert all(other[clip_id] != near[clip_id] for clip_id in ids)
    assert all({i for i, _ in found} == set(ids) - {of} for of, found in other.items())
    ids.append(rig.post(library, 7))

    library.roles.switch()
    last = ids[-1]
    back = rig.scores(library)
    assert {i: said for i, said in back.items() if i != last} == first  # to the last bit
    assert back[last][0] == library.recogniser.info.digest
    assert library.recogniser.info.id == BUNDLED
    library.forget(last)
    assert {i: rig.neighbours(library, i) for i in near} == near
    library.roles.switch()
    assert {i: rig.neighbours(library, i) for i in near} == other
    assert {i: said for i, said in rig.scores(library).items() if i in now} == now


def test_the_answer_is_of_the_active_model(library: Library, second: Source) -> None:
    before = rig.posted(library, 0, extract_embedding=True)
    library.roles.open_beside(second)
    while_beside = rig.posted(library, 0, extract_embedding=True, granularity="frame")
    library.roles.switch()
    after = rig.posted(library, 0, extract_embedding=True)
    assert before["model"] == while_beside["model"]
    assert before["scores"] == while_beside["scores"]
    assert after["model"]["id"] == second.id
    assert after["scores"] != before["scores"]
    assert after["indexed"]
    both = rig.posted(library, 0, channel="split")
    assert rig.indexed(library.spaces.active)[-2:] == [
        both["clip_id"],
        both["channels"]["right"]["clip_id"],
    ]
    assert (
        rig.indexed(library.spaces.active)[-2:] == rig.indexed(library.roles.switch().active)[-2:]
    )
    written = [
        np.load(library.settings.outputs_dir / Path(one["result_dir"]).name / "embedding.npy")
        for one in (before, while_beside, after)
    ]
    assert np.abs(written[0] - written[1].mean(axis=0)).max() < 1e-4
    assert np.abs(written[0] - written[2]).max() > 1e-2


def test_deleted_from_both_in_either_state(library: Library, second: Source) -> None:
    ids = [rig.post(library, seed) for seed in range(4)]
    rig.hear_again(library, library.roles.open_beside(second))
    library.forget(ids.pop())
    for space in library.spaces:
        assert rig.indexed(space) == ids
    library.roles.switch()
    assert library.forget_matching(ClipFilter(customer_id="nobody")) == 0
    library.forget(ids.pop())
    for space in library.spaces:
        assert rig.indexed(space) == ids
        with library.store.read() as session:
            assert embeddings.count_indexable(session, space.model_row) == 2
    library.roles.switch()
    assert sorted(rig.scores(library)) == ids


def test_deleted_while_the_other_one_opens(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [rig.post(library, seed) for seed in range(3)]
    rig.hear_again(library, library.roles.open_beside(second))
    library.roles.close_beside()
    load = app.library.roles.load_beside

    def delete_before_it_is_told(*of: Any) -> Any:
        space = load(*of)
        assert rig.indexed(space) == ids
        library.forget(ids.pop())
        return space

    monkeypatch.setattr(app.library.roles, "load_beside", delete_before_it_is_told)
    assert rig.indexed(library.roles.open_beside(second)) == ids


def test_not_indexable_is_in_neither(library: Library, second: Source) -> None:
    old = rig.post(library, 0, index=False)
    beside = library.roles.open_beside(second)
    assert rig.hear_again(library, beside) == [old]
    rig.post(library, 1, index=False)
    assert rig.indexed(beside) == []
    before = rig.scores(library)
    library.roles.switch()
    after = rig.scores(library)
    assert all(after[clip_id] != said for clip_id, said in before.items())


def test_who_was_heard_before_the_other_one_came_is_heard_again(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, rounds = Hearing.hear, 0

    def heard_then_switched(self: Hearing, spaces: Any) -> None:
        nonlocal rounds
        rounds += 1
        hear(self, spaces)
        if rounds == 1:
            assert spaces.beside is None
            library.roles.open_beside(second)
            library.roles.switch()

    monkeypatch.setattr(Hearing, "hear", heard_then_switched)
    answer = rig.posted(library, 0, extract_embedding=True)
    assert rounds == 2
    assert answer["model"]["id"] == second.id
    for space in library.spaces:
        assert rig.indexed(space) == [answer["clip_id"]]
    [said] = rig.scores(library).values()
    library.roles.switch()
    [first] = rig.scores(library).values()
    assert said[0] != first[0] == library.recogniser.info.digest
