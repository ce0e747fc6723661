"""Requests with the same key, one after the other."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import pytest

from app.errors import ClientGone, QueueFull
from app.library.keyed_locks import KeyedLocks
from app.recogniser import Flow


def begin(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def hold(locks: KeyedLocks, key: str, flow: Flow | None = None) -> None:
    with locks.hold(key, flow or Flow()):
        pass


def test_one_at_a_time_and_nothing_stays() -> None:
    locks, inside, most = KeyedLocks(), 0, 0

    def work() -> None:
        nonlocal inside, most
        with locks.hold("a", Flow()):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    for thread in [begin(work) for _ in range(KeyedLocks.MOST_WAITING)]:
        thread.join()
    assert most == 1
    assert (locks._held, locks._waiting) == (set(), {})


def test_other_keys_do_not_wait() -> None:
    locks = KeyedLocks()
    with locks.hold("a", Flow()), locks.hold("b", Flow()):
        pass


def test_a_client_that_hangs_up_waits_no_longer() -> None:
    locks, flow, gone = KeyedLocks(), Flow(), []

    def wait() -> None:
        with pytest.raises(ClientGone):
            hold(locks, "a", flow)
        gone.append(True)

    with locks.hold("a", Flow()):
        waiter = begin(wait)
        wait_until(lambda: locks._waiting["a"] == 1)
        flow.cancel()
        waiter.join(timeout=30)
        assert gone
    hold(locks, "a")


@pytest.mark.parametrize("keys", [1, 12])
def test_only_so_many_wait(keys: int) -> None:
    """For one key, and for many together."""
    locks, done = KeyedLocks(), threading.Event()
    most = KeyedLocks.MOST_WAITING if keys == 1 else KeyedLocks.MOST_TOGETHER
    names = [str(number % keys) for number in range(most)]

    def own(key: str) -> None:
        with locks.hold(key, Flow()):
            done.wait()

    holders = [begin(functools.partial(own, key)) for key in sorted(set(names))]
    wait_until(lambda: len(locks._held) == keys)
    waiters = [begin(functools.partial(hold, locks, key)) for key in names]
    wait_until(lambda: locks._waiting.total() == most)
    with pytest.raises(QueueFull):
        hold(locks, "0")
    done.set()
    for thread in [*holders, *waiters]:
        thread.join()
