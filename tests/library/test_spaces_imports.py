"""What is imported while a second model is beside the active one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli.import_local import Local
from app.cli.import_vectors import run
from app.domain import ClipFields, GivenScores
from app.errors import Conflict, InvalidParameter
from app.library import Library
from app.library.import_results import ResultDirectory, import_result
from app.library.imports import add_rows, begin
from app.recogniser import Flow, Recogniser, Source
from app.store import embeddings
from app.store.imports import ImportedClip
from tests.library import spaces_rig as rig

GIVEN = GivenScores("sad", 0.5, tuple(np.full(9, 1 / 9)))


def directory(seed: int, **changes: Any) -> ResultDirectory:
    said = {"audio": rig.noise(seed), **changes}
    return ResultDirectory(f"{seed:064}", f"outputs_{seed}", GIVEN, ClipFields(), **said)


def embedded(library: Library, clip_id: int) -> list[Any]:
    """A clip's embeddings by the active model and the other one."""
    with library.store.read() as session:
        return [
            embeddings.get(session, space.model_row, [clip_id]).get(clip_id)
            for space in library.spaces
        ]


@pytest.mark.parametrize("given", [None, np.full(192, 0.25, np.float32)])
def test_a_result_directory_with_audio_goes_to_both(
    library: Library, second: Source, given: np.ndarray | None
) -> None:
    library.roles.open_beside(second)
    imported = import_result(library, directory(1, embedding=given), Flow())
    clip_id = imported.clip_id
    assert imported.outcome == ("stored" if given is not None else "recognised anew")
    posted = rig.post(library, 1)
    mine, others = (embedded(library, i) for i in (clip_id, posted))
    np.testing.assert_array_equal(mine[0], others[0] if given is None else given)
    np.testing.assert_array_equal(mine[1], others[1])
    before = rig.scores(library)
    assert before[clip_id][1:] == ("sad", 0.5, GIVEN.scores)
    library.roles.switch()
    after = rig.scores(library)
    assert after[clip_id] == after[posted]
    for space in library.spaces:
        assert rig.indexed(space) == [clip_id, posted]
    again = import_result(library, directory(1, embedding=given), Flow())
    assert (again.outcome, again.clip_id) == ("already stored", clip_id)
    library.roles.switch()
    assert rig.scores(library) == before


def test_a_switch_while_it_is_heard(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, times = Recogniser.submit, 0

    def switch(self: Recogniser, *of: Any, **options: Any) -> Any:
        nonlocal times
        times += 1
        if times == 1:
            library.roles.open_beside(second)
            library.roles.switch()
        return submit(self, *of, **options)

    monkeypatch.setattr(Recogniser, "submit", switch)
    clip_id = import_result(library, directory(1), Flow()).clip_id
    assert times > 1
    for space in library.spaces:
        assert rig.indexed(space) == [clip_id]


def test_an_embedding_of_the_model_that_was_active(library: Library, second: Source) -> None:
    digest = library.recogniser.info.digest
    library.roles.open_beside(second)
    given = {"embedding": np.ones(192, np.float32), "model_digest": digest}
    clip_id = import_result(library, directory(1, audio=None, **given), Flow()).clip_id
    assert embedded(library, clip_id)[1] is None
    library.roles.switch()
    with pytest.raises(InvalidParameter, match="by another model"):
        import_result(library, directory(2, audio=None, **given), Flow())
    before = rig.scores(library)
    library.roles.switch()
    assert rig.scores(library) == before
    assert rig.indexed(library.spaces.active) == [clip_id]


def test_vectors_into_either_space(library: Library, second: Source) -> None:
    beside = library.roles.open_beside(second)
    vectors = np.random.default_rng(0).standard_normal((4, 192)).astype(np.float32)

    def add(key: str, model: str | None, first: int) -> None:
        two = vectors[first : first + 2]
        add_rows(library, key, model, first, two, [ImportedClip()] * 2, None)

    for key, model in (("a", None), ("b", beside.model.digest[:12])):
        begin(library, key, model, rows=4, dimension=192, highest_id=None)
        add(key, model, 0)
    assert [len(rig.indexed(space)) for space in library.spaces] == [2, 2]
    assert set(rig.indexed(beside)).isdisjoint(rig.indexed(library.spaces.active))
    library.roles.switch()
    with pytest.raises(Conflict):
        add("b", None, 0)
    add("b", None, 2)
    assert [len(rig.indexed(space)) for space in library.spaces] == [4, 2]
    for space in library.spaces:
        held = rig.indexed(space)
        space.index.audit()
        assert rig.indexed(space) == held


def test_a_switch_in_the_middle_of_an_import(library: Library, second: Source) -> None:
    """The rest goes where it was begun, or is refused; nothing begins anew in the other space."""
    vectors = np.random.default_rng(0).standard_normal((6, 192)).astype(np.float32)

    def two_more(first: int) -> None:
        two = vectors[first : first + 2]
        add_rows(library, "k", None, first, two, [ImportedClip()] * 2, None)

    begun = begin(library, "k", None, rows=6, dimension=192, highest_id=None)
    two_more(0)
    library.roles.open_beside(second)
    library.roles.switch()
    two_more(2)
    again = begin(library, "k", None, rows=6, dimension=192, highest_id=None)
    assert (again.model, again.done) == (begun.model, 4)
    assert [len(rig.indexed(space)) for space in library.spaces] == [0, 4]
    library.roles.close_beside()
    for act in (
        lambda: two_more(4),
        lambda: begin(library, "k", None, rows=6, dimension=192, highest_id=None),
    ):
        with pytest.raises(Conflict, match="not searched any more"):
            act()
    named = begin(library, "k", second.id, rows=6, dimension=192, highest_id=None)
    assert (named.model.id, named.done) == (second.id, 0)


def test_rows_are_sent_to_the_model_that_they_were_begun_with(
    library: Library, second: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = library.recogniser.info.digest
    library.roles.open_beside(second)
    np.save(tmp_path / "v.npy", np.ones((9, 192), np.float32))
    target, sent = Local(library), []
    begin_it = target.begin

    def begin_then_switch(*of: Any) -> Any:
        begun = begin_it(*of)
        library.roles.switch()
        library.roles.close_beside()
        return begun

    def note(key: str, model: str | None, *_: Any) -> None:
        sent.append(model)

    monkeypatch.setattr(target, "begin", begin_then_switch)
    monkeypatch.setattr(target, "add_rows", note)
    monkeypatch.setitem(run.__globals__, "open_target", lambda _: contextlib.nullcontext(target))
    run(tmp_path / "v.npy", None, model=None, again=False, url=None)
    assert set(sent) == {first}
