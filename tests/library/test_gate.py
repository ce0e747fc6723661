"""Admission of recognitions."""

from __future__ import annotations

import threading
import time

import pytest

from app.errors import ClientGone, QueueFull, Unavailable
from app.library.gate import Gate
from app.recogniser import Flow


def test_so_many_at_once_so_many_waiting() -> None:
    gate, leave = Gate(concurrency=2, queue_length=3), threading.Event()
    inside, most, refused = 0, 0, 0
    lock = threading.Lock()

    def visit() -> None:
        nonlocal inside, most, refused
        try:
            with gate.admit(Flow()):
                with lock:
                    inside += 1
                    most = max(most, inside)
                leave.wait()
                with lock:
                    inside -= 1
        except QueueFull:
            with lock:
                refused += 1

    threads = [threading.Thread(target=visit) for _ in range(9)]
    for thread in threads:
        thread.start()
    while refused < 4 or inside < 2:
        time.sleep(0.001)
    leave.set()
    for thread in threads:
        thread.join()
    assert (most, refused) == (2, 4)


def test_those_who_wait_are_told_of_a_stop() -> None:
    gate, inside, leave = Gate(1, 5), threading.Event(), threading.Event()
    told: list[bool] = []

    def work() -> None:
        with gate.admit(Flow()):
            inside.set()
            leave.wait()

    def wait() -> None:
        try:
            with gate.admit(Flow()):
                told.append(False)
        except Unavailable:
            told.append(True)

    threads = [threading.Thread(target=work)]
    threads[0].start()
    inside.wait()
    threads += [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    while gate.waiting < 3:
        time.sleep(0.001)
    gate.shut()
    for thread in threads[1:]:  # while nobody has left
        thread.join(timeout=10)
    told_before = list(told)
    leave.set()
    for thread in threads:
        thread.join()
    assert told_before == told == [True, True, True]


def test_closing_waits_for_those_inside_and_admits_no_more() -> None:
    gate, leave, closed = Gate(2, 0), threading.Event(), threading.Event()
    inside = threading.Event()

    def visit() -> None:
        with gate.admit(Flow()):
            inside.set()
            leave.wait()

    visitor = threading.Thread(target=visit)
    visitor.start()
    inside.wait()
    closer = threading.Thread(target=lambda: (gate.close(), closed.set()))
    closer.start()
    assert not closed.wait(0.1)
    with pytest.raises(Unavailable), gate.admit(Flow()):
        pass
    leave.set()
    assert closed.wait(10)
    visitor.join()
    closer.join()


def test_who_hangs_up_while_waiting_frees_the_place() -> None:
    gate, gone, leave, told = Gate(1, 1), Flow(), threading.Event(), list[str]()
    inside = threading.Event()

    def work() -> None:
        with gate.admit(Flow()):
            inside.set()
            leave.wait()

    def wait(flow: Flow) -> None:
        try:
            with gate.admit(flow):
                told.append("in")
        except ClientGone:
            told.append("gone")

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait()
    waiter = threading.Thread(target=wait, args=(gone,))
    waiter.start()
    while not gate.waiting:
        time.sleep(0.001)
    with pytest.raises(QueueFull), gate.admit(Flow()):
        pass
    gone.cancel()
    waiter.join()
    assert told == ["gone"]
    later = threading.Thread(target=wait, args=(Flow(),))
    later.start()
    while not gate.waiting:
        time.sleep(0.001)
    with pytest.raises(ClientGone), gate.admit(gone):
        pass
    leave.set()
    worker.join()
    later.join()
    assert told == ["gone", "in"]


def test_who_came_first_goes_first() -> None:
    gate, order = Gate(1, 10), list[int]()

    def visit(number: int) -> None:
        with gate.admit(Flow()):
            order.append(number)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(10)]
    with gate.admit(Flow()):
        for number, thread in enumerate(threads):
            thread.start()
            while gate.waiting <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(10))


def test_a_failure_inside_frees_the_place() -> None:
    gate = Gate(concurrency=1, queue_length=0)
    for _ in range(3):
        with pytest.raises(RuntimeError), gate.admit(Flow()):
            raise RuntimeError
