"""A re-embedding in a library of this process: what it waits for, and what ends it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from app.errors import NotEnoughMemory
from app.library import Library, hear_again, maintenance, reembedding
from app.library.hear_again import HearingAgain
from app.library.live_index import LiveIndex
from app.recogniser import Source
from app.recogniser.sources import BUNDLED_ID
from app.store import clips
from app.store.reindexes import Reindex
from tests.library import spaces_rig as rig


def finished(library: Library) -> Reindex:
    give_up = time.monotonic() + 60
    while (latest := library.reindexing.latest()).is_under_way:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return latest


@pytest.mark.parametrize("heard_first", [0, 2])
def test_memory_that_is_never_enough(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch, heard_first: int
) -> None:
    monkeypatch.setattr(maintenance, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(hear_again, "BATCH", 1)
    ids = [rig.post(library, seed) for seed in range(4)]
    hear, heard, refused = HearingAgain._hear, [], []

    def short_of_memory(self: HearingAgain, space: Any, clip_id: int, key: str) -> Any:
        if len(heard) == heard_first:
            refused.append(clip_id)
            raise NotEnoughMemory("There is not enough memory.")
        heard.append(clip_id)
        return hear(self, space, clip_id, key)

    with monkeypatch.context() as short:
        short.setattr(HearingAgain, "_hear", short_of_memory)
        library.reindexing.begin("reembed", second.id)
        failed = finished(library)
    assert (failed.state, failed.done) == ("failed", heard_first)
    assert failed.message is not None
    assert "not enough memory" in failed.message
    assert refused == [ids[heard_first]] * reembedding.MEMORY_TRIES
    assert library.spaces.beside is None
    assert library.recogniser.info.id == BUNDLED_ID
    library.reindexing.begin("reembed", second.id)
    assert finished(library).state == "done"
    assert rig.indexed(library.spaces.active) == ids


@pytest.mark.parametrize(("least", "state"), [(2, "failed"), (3, "done")])
def test_too_many_that_cannot_be_heard(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch, least: int, state: str
) -> None:
    monkeypatch.setattr(reembedding, "FEW_UNHEARD", least)
    ids = [rig.post(library, seed) for seed in range(5)]
    with library.store.read() as session:
        for clip_id in ids[:2]:
            key = clips.get(session, clip_id).audio_key
            library.kept_audio.path(key).unlink()
    library.reindexing.begin("reembed", second.id)
    ended = finished(library)
    assert ended.state == state
    if state == "done":
        assert rig.indexed(library.spaces.active) == ids[2:]
        return
    assert ended.message is not None
    assert "2 of 5 clips with kept audio could not be heard" in ended.message
    assert library.recogniser.info.id == BUNDLED_ID
    assert library.spaces.beside is None
    for clip_id in ids[:2]:
        library.forget(clip_id)
    library.reindexing.begin("reembed", second.id)
    assert finished(library).state == "done"


def test_an_index_is_not_tended_while_it_is_filled(
    library: Library, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [rig.post(library, seed) for seed in range(3)]
    catch_up, tended = HearingAgain.catch_up, []

    def tend_when_heard(self: HearingAgain, space: Any) -> None:
        catch_up(self, space)
        if space.index.build == 0:
            library.roles.tend(lambda index: tended.append(index is library.index))
            library.roles.tend(LiveIndex.audit)
            assert rig.indexed(space) == []

    monkeypatch.setattr(HearingAgain, "catch_up", tend_when_heard)
    library.reindexing.begin("reembed", second.id)
    done = finished(library)
    assert (done.state, tended) == ("done", [True]), done.message
    assert rig.indexed(library.spaces.active) == ids
    library.roles.tend(lambda index: tended.append(index is library.index))
    assert tended == [True, True, False]
    assert library.recogniser.info.id != BUNDLED_ID
