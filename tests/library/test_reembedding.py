"""A re-embedding in a library of this process: what it waits for, and what ends it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from app.library import Library
from app.library.hear_again import HearingAgain
from app.library.live_index import LiveIndex
from app.recogniser import Source
from app.recogniser.sources import BUNDLED_ID
from app.store.reindexes import Reindex
from tests.library import spaces_rig as rig


def finished(library: Library) -> Reindex:
    give_up = time.monotonic() + 60
    while (latest := library.reindexing.latest()).is_under_way:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return latest


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
