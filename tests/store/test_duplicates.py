"""Pairs of duplicates and decisions, also where two write the same at once."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

from app.store import Store, duplicates
from app.store.duplicates import FoundPair
from tests.store.test_store import add, model_id

__all__ = ["model_id"]  # a fixture

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
AT_ONCE = 4


def copy_of(low: int, high: int) -> FoundPair:
    return FoundPair(low, high, "same_recording", 0.9)


def test_many_decide_of_one_pair_at_once(store: Store, model_id: int) -> None:
    one, other = add(store, model_id), add(store, model_id)
    ready = threading.Barrier(AT_ONCE)

    def decide(number: int) -> list[int]:
        ready.wait(timeout=60)
        with store.write() as session:
            decision = ("confirm", "dismiss")[number % 2]
            return duplicates.decide(session, [(other, one)], decision, NOW)  # type: ignore[arg-type]

    for _ in range(10):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert list(pool.map(decide, range(AT_ONCE))) == [[]] * AT_ONCE
        with store.write() as session:
            [(pair, decision)] = duplicates.all_decisions(session).items()
            assert (pair, decision in ("confirm", "dismiss")) == ((one, other), True)
            duplicates.decide(session, [pair], None, NOW)
            assert duplicates.all_decisions(session) == {}


def test_many_find_the_same_pairs_at_once(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(6)]
    pairs = [copy_of(low, high) for low in ids for high in ids if low < high]
    ready = threading.Barrier(AT_ONCE)

    def find(number: int) -> list[FoundPair]:
        ready.wait(timeout=60)
        with store.write() as session:
            return duplicates.add_pairs(session, pairs[:: (-1) ** number])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert [sorted(found) for found in pool.map(find, range(AT_ONCE))] == [pairs] * AT_ONCE
    with store.read() as session:
        assert duplicates.all_pairs(session, ["same_recording"]) == [pair[:2] for pair in pairs]


def test_the_lowest_copy_may_be_one_of_a_copy(store: Store, model_id: int) -> None:
    first, second, third, fourth = [add(store, model_id) for _ in range(4)]

    def lowest() -> int | None:
        with store.read() as session:
            return duplicates.lowest_copy(session, fourth)

    def dismiss(low: int, high: int) -> None:
        with store.write() as session:
            duplicates.decide(session, [(low, high)], "dismiss", NOW)

    assert lowest() is None
    with store.write() as session:
        duplicates.add_pairs(session, [copy_of(third, fourth), copy_of(first, third)])
    assert lowest() == first
    dismiss(first, fourth)
    assert lowest() == third
    with store.write() as session:
        duplicates.add_pairs(session, [copy_of(second, third)])
    assert lowest() == second
    dismiss(second, third)
    assert lowest() == third
    dismiss(third, fourth)
    assert lowest() is None
