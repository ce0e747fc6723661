"""What changes while an index is compared with its store is not called damage."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from app.errors import Unavailable
from app.library import index_check
from app.library.index_check import IndexCheck
from tests.library.index_check_rig import DataDir


@pytest.mark.usefixtures("impatient")
def test_a_build_that_takes_its_place_meanwhile_is_checked_instead(data_dir: DataDir) -> None:
    rebuilt = False

    def rebuild_once() -> None:
        nonlocal rebuilt
        if not rebuilt:
            rebuilt = True
            data_dir.index.rebuild()
            data_dir.row(20)[:] = 0

    assert data_dir.found(rebuild_once).faults["zeroed"].tolist() == [20]


@pytest.mark.parametrize("kind", ["missing", "phantom"])
def test_a_change_on_its_way_into_the_index_is_waited_for(data_dir: DataDir, kind: str) -> None:
    removals = data_dir.index.removals
    clip_id = data_dir.commit()
    if kind == "phantom":
        data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)
        data_dir.delete(clip_id)

    def arrive() -> None:
        time.sleep(0.5)
        if kind == "phantom":
            data_dir.index.remove([clip_id])
        else:
            data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)

    late = threading.Thread(target=arrive)
    late.start()
    found = data_dir.found()
    late.join()
    assert found.clean


def test_what_stays_away_is_missing(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_check, "PATIENCE", 0.5)
    clip_id = data_dir.commit()
    assert data_dir.found().faults["missing"].tolist() == [clip_id]


def test_a_clip_whose_add_failed_is_missed_no_longer(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id, removals = data_dir.commit(), data_dir.index.removals
    with monkeypatch.context() as broken:
        broken.setattr(type(data_dir.index.current().index), "add", None)
        assert not data_dir.index.add(clip_id, data_dir.embeddings[clip_id], removals=removals)
    assert (data_dir.index.state, data_dir.index.pending) == ("degraded", 1)
    data_dir.index.renew(np.array([clip_id]))
    assert (data_dir.index.state, data_dir.index.pending) == ("ready", 0)
    data_dir.check()


@pytest.mark.usefixtures("impatient")
def test_the_last_look_is_at_a_moment(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, still = index_check.embeddings.stream, list[bool]()

    def seen(*arguments: Any) -> Any:
        still.append(data_dir.index._changing.locked())
        return stream(*arguments)

    data_dir.row(2)[:] = 0
    monkeypatch.setattr(index_check.embeddings, "stream", seen)
    assert not data_dir.found().clean
    assert still == [True]


def test_nothing_is_added_while_it_is_still(data_dir: DataDir) -> None:
    with data_dir.index.still() as engine:
        before = len(engine)
        adding = threading.Thread(target=data_dir.add)
        adding.start()
        while len(data_dir.embeddings) == before:  # until it is committed
            time.sleep(0.01)
        adding.join(0.3)
        assert len(engine) == before
    adding.join()
    assert len(engine) == before + 1


def test_beside_adds_and_deletes_nothing_is_found(data_dir: DataDir) -> None:
    turn, stop, problems = threading.Condition(), threading.Event(), list[BaseException]()
    turns = 0

    def change() -> None:
        nonlocal turns
        try:
            while not stop.is_set():
                ids = [data_dir.add() for _ in range(3)]
                for clip_id in (ids[1], next(iter(data_dir.embeddings))):
                    data_dir.delete(clip_id)
                    data_dir.index.remove([clip_id])
                data_dir.index.maintain()
                with turn:
                    turns += 1
                    turn.notify()
        except BaseException as error:
            problems.append(error)
            with turn:
                turn.notify()

    def check() -> IndexCheck:
        pages = 0

        def wait_for_a_change() -> None:
            nonlocal pages
            pages += 1
            if pages in (2, 4, 6):  # of a check that begins again, the later ones pass
                with turn:
                    before = turns
                    turn.wait_for(lambda: turns > before or problems)

        found = data_dir.found(wait_for_a_change)
        assert pages >= 6
        return found

    thread = threading.Thread(target=change)
    thread.start()
    try:
        checks = [check() for _ in range(10)]
    finally:
        stop.set()
        thread.join()
    assert not problems
    assert all(found.clean for found in checks)
    assert turns >= 30
    assert data_dir.found().clean


def test_it_can_be_given_up(data_dir: DataDir) -> None:
    def give_up() -> None:
        raise Unavailable("The service is stopping.")

    with pytest.raises(Unavailable):
        data_dir.found(give_up)
