"""Admission of recognitions: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from app.errors import QueueFull, Unavailable
from app.recogniser import Flow


class Gate:
    """Lets `concurrency` threads in at once, in the order of their coming; up to `queue_length`
    more wait. What is inside, from decoding to the answer, is what batches are made of."""

    def __init__(self, concurrency: int, queue_length: int) -> None:
        self._concurrency = concurrency
        self._places = concurrency + queue_length
        self._inside = 0
        self._lock = threading.Lock()
        # In the order of their coming, each woken by itself: a crowd that wakes for every free
        # place takes milliseconds.
        self._waiting: dict[Flow, threading.Condition] = {}
        self._left = threading.Condition(self._lock)
        self._closed = False

    @property
    def inside(self) -> int:
        return self._inside

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextlib.contextmanager
    def admit(self, flow: Flow) -> Iterator[None]:
        """Holds a place for the length of the block.

        Raises:
            QueueFull: nothing was waited for; come back later.
            Unavailable: the gate is closed.
            ClientGone: the flow was cancelled, before or while it waited.
        """
        with self._lock:
            self.check(flow)
            if self._inside + len(self._waiting) >= self._places:
                raise QueueFull(
                    "All recognitions and the queue behind them are busy; try again after "
                    "Retry-After seconds."
                )
            self._wait(flow)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._wake()

    def check(self, flow: Flow) -> None:
        """For those inside who have long to go.

        Raises:
            Unavailable: the gate is closed.
            ClientGone: the flow was cancelled.
        """
        if self._closed:
            raise Unavailable("The service is stopping.")
        flow.check()

    def shut(self) -> None:
        """Admit nobody any more; those who wait are told now. Not for a signal handler, which may
        interrupt a thread that holds the lock."""
        with self._lock:
            self._closed = True
            self._wake()

    def close(self) -> None:
        """Admit nobody any more, and wait for those inside."""
        self.shut()
        with self._lock:
            self._left.wait_for(lambda: self._inside == 0 and not self._waiting)

    def _wait(self, flow: Flow) -> None:
        def may_go_on() -> bool:
            first = self._inside < self._concurrency and next(iter(self._waiting)) is flow
            return first or self._closed or flow.cancelled

        self._waiting[flow] = turn = threading.Condition(self._lock)
        flow.on_cancel(self._wake_cancelled)
        try:
            turn.wait_for(may_go_on)
            self.check(flow)
        finally:
            del self._waiting[flow]
            self._wake()

    def _wake(self) -> None:
        """The first in the queue, who wakes the next in leaving it; and whoever closes the gate."""
        for first in self._waiting.values():
            first.notify()
            break
        self._left.notify_all()

    def _wake_cancelled(self, flow: Flow) -> None:
        with self._lock:
            if flow in self._waiting:
                self._waiting[flow].notify()
