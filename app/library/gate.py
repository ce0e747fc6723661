"""Admission of recognitions: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import collections
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
        self._waiting: collections.deque[Flow] = collections.deque()
        self._changed = threading.Condition()
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
        with self._changed:
            self._check(flow)
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
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def check(self) -> None:
        """For those inside who have long to go. Raises Unavailable once the gate is closed."""
        if self._closed:
            raise Unavailable("The service is stopping.")

    def shut(self) -> None:
        """Admit nobody any more, those who wait included. Safe in a signal handler."""
        self._closed = True

    def close(self) -> None:
        """Admit nobody any more, and wait for those inside."""
        self.shut()
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._inside == 0 and not self._waiting)

    def _wait(self, flow: Flow) -> None:
        def may_go_on() -> bool:
            first = self._inside < self._concurrency and self._waiting[0] is flow
            return first or self._closed or flow.cancelled

        self._waiting.append(flow)
        flow.on_cancel(self._wake)
        try:
            self._changed.wait_for(may_go_on)
            self._check(flow)
        finally:
            self._waiting.remove(flow)
            self._changed.notify_all()

    def _check(self, flow: Flow) -> None:
        self.check()
        flow.check()

    def _wake(self, _: Flow) -> None:
        with self._changed:
            self._changed.notify_all()
