"""Admission of recognitions: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from app.errors import QueueFull, Unavailable


class Gate:
    """Lets `concurrency` threads through at once; up to `queue_length` more wait."""

    def __init__(self, concurrency: int, queue_length: int) -> None:
        self._slots = threading.Semaphore(concurrency)
        self._places = concurrency + queue_length
        self._inside = 0
        self._changed = threading.Condition()
        self._closed = False

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Holds a slot for the length of the block.

        Raises:
            QueueFull: nothing was waited for; come back later.
            Unavailable: the gate is closed.
        """
        with self._changed:
            self.check()
            if self._inside >= self._places:
                raise QueueFull(
                    "All recognitions and the queue behind them are busy; try again after "
                    "Retry-After seconds."
                )
            self._inside += 1
        try:
            with self._slots:
                self.check()
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
            self._changed.wait_for(lambda: self._inside == 0)
