"""Two models in one library: both hear what comes, and they change places."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app.library.roles
from app.domain import ClipFilter
from app.errors import ClientGone, Conflict, ModelError, NotIndexed, Unavailable
from app.library import Library, live_index, spaces
from app.library.files import index_directory
from app.library.hear import Hearing
from app.library.search import Wanted, similar
from app.recogniser import Flow, Recogniser, Source
from app.recogniser.model_dir import BUNDLED
from app.recogniser.sources import BUNDLED_ID
from app.store import embeddings, models
from tests.library import spaces_rig as rig
from tests.library.spaces_rig import Open


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
    assert library.recogniser.info.id == BUNDLED_ID
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
    assert library.recogniser.info.id == BUNDLED_ID
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
    sides = [both["clip_id"], both["channels"]["right"]["clip_id"]]
    for space in library.spaces:
        assert rig.indexed(space)[-2:] == sides
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

    def heard_then_switched(self: Hearing) -> None:
        nonlocal rounds
        rounds += 1
        hear(self)
        if rounds == 1:
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


def test_a_model_beside_that_fails_refuses_nobody(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = library.roles.open_beside(second)
    submit = Recogniser.submit

    def fail(self: Recogniser, *of: Any, **options: Any) -> Any:
        if self is beside.recogniser:
            raise MemoryError
        return submit(self, *of, **options)

    with monkeypatch.context() as broken:
        broken.setattr(Recogniser, "submit", fail)
        answer = rig.posted(library, 0)
    assert answer["indexed"]
    assert [rig.indexed(space) for space in library.spaces] == [[answer["clip_id"]], []]
    assert rig.hear_again(library, beside) == [answer["clip_id"]]
    assert rig.indexed(beside) == [answer["clip_id"]]


def test_a_client_that_has_gone_is_not_waited_for_by_the_model_beside(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = library.roles.open_beside(second)
    flow, submit = Flow(), Recogniser.submit

    def hang_up(self: Recogniser, *of: Any, **options: Any) -> Any:
        if self is beside.recogniser:
            flow.cancel()
        return submit(self, *of, **options)

    monkeypatch.setattr(Recogniser, "submit", hang_up)
    with pytest.raises(ClientGone):
        rig.posted(library, 0, flow=flow)
    assert rig.scores(library) == {}


def test_a_model_that_was_dropped_while_it_heard(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.roles.open_beside(second)
    submit, dropped = Recogniser.submit, library.spaces.active.recogniser

    def drop(self: Recogniser, *of: Any, **options: Any) -> Any:
        if self is dropped:
            library.roles.switch()
            library.roles.close_beside()
        return submit(self, *of, **options)

    monkeypatch.setattr(Recogniser, "submit", drop)
    answer = rig.posted(library, 0)
    assert answer["model"]["id"] == second.id
    assert rig.indexed(library.spaces.active) == [answer["clip_id"]]


def test_a_clip_that_only_the_other_model_embedded(reopen: Open, second: Source) -> None:
    library = reopen(keep_audio=False)
    old = rig.post(library, 0)
    [before] = rig.scores(library).values()
    beside = library.roles.open_beside(second)
    assert rig.hear_again(library, beside) == []
    new = rig.post(library, 1)
    library.roles.switch()
    assert rig.scores(library)[old] == before
    assert rig.scores(library)[new][0] == beside.model.digest
    assert rig.neighbours(library, new) == []
    [refused] = similar(library, [old], Wanted())
    assert isinstance(refused, NotIndexed)
    library = reopen(keep_audio=False, model="auto")  # no reason to refuse the start
    assert rig.scores(library)[old] == before


def test_what_is_beside_and_what_is_not(library: Library, second: Source, tmp_path: Path) -> None:
    with pytest.raises(Conflict):
        library.roles.switch()
    bundled = Source(BUNDLED_ID, BUNDLED)
    with pytest.raises(Conflict, match="is the active model"):
        library.roles.open_beside(bundled)
    with pytest.raises(ModelError):
        library.roles.open_beside(rig.source(tmp_path))
    beside = library.roles.open_beside(second)
    assert library.roles.open_beside(second) is beside
    third = shutil.copytree(second.path, tmp_path / "third")
    tokens = (third / "tokens.txt").read_text("utf-8").split()
    (third / "tokens.txt").write_text("\n".join(reversed(tokens)), "utf-8")
    with pytest.raises(Conflict, match="is beside the active model"):
        library.roles.open_beside(rig.source(third))
    library.roles.close_beside()
    library.roles.close_beside()
    with pytest.raises(Conflict):
        library.roles.switch()
    assert library.roles.open_beside(rig.source(third)).model.id == str(third)


def test_closed_and_opened_again(library: Library, second: Source) -> None:
    ids = [rig.post(library, seed) for seed in range(2)]
    first = library.roles.open_beside(second)
    rig.hear_again(library, first)
    first.index.save()
    directory = index_directory(library.settings.data_dir, first.model)
    assert directory.is_dir()
    library.roles.close_beside()
    assert not directory.exists()
    ids.append(rig.post(library, 2))
    library.forget(ids.pop(0))
    beside = library.roles.open_beside(second)
    assert rig.indexed(beside) == ids[:1]
    assert rig.hear_again(library, beside) == ids[1:]
    library.roles.switch()
    assert rig.indexed(library.spaces.active) == ids


@pytest.mark.parametrize("slow", ["the model", "its index"])
def test_a_stop_does_not_wait_for_a_model_that_opens(
    reopen: Open, second: Source, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    library = reopen()
    rig.post(library, 0)
    rig.hear_again(library, library.roles.open_beside(second))
    library.roles.close_beside()
    arrived, go_on = threading.Event(), threading.Event()
    load, build = spaces.load_from, live_index.build

    def wait(*of: Any) -> Any:
        arrived.set()
        assert go_on.wait(60)
        return load(*of)

    def build_long(*of: Any) -> Any:
        arrived.set()
        while not go_on.wait(0.01):
            of[-1](0)  # as it tells after each block
        return build(*of)

    if slow == "the model":
        monkeypatch.setattr(spaces, "load_from", wait)
    else:
        monkeypatch.setattr(live_index, "build", build_long)
    with ThreadPoolExecutor(2) as pool:
        opening = pool.submit(library.roles.open_beside, second)
        assert arrived.wait(60)
        closing = pool.submit(library.roles.close)
        try:
            with pytest.raises(Unavailable):
                opening.result(5)
            closing.result(5)
        finally:
            go_on.set()
    assert library.spaces.beside is None
    with library.store.read() as session:
        assert models.beside(session) is None
