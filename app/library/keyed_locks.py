"""One lock a key, there only while somebody holds or awaits it."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from app.errors import QueueFull
from app.recogniser import Flow


class KeyedLocks:
    """Threads with equal keys go one after the other; others do not notice."""

    MOST_WAITING = 8  # for one key; each holds a thread of the server
    MOST_TOGETHER = 24  # for all keys: other routes must still find a thread

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()
        self._waiting: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def hold(self, key: str, flow: Flow) -> Iterator[None]:
        """Holds the key for the length of the block.

        Raises:
            QueueFull: too many wait, for this key or in all.
            ClientGone: the flow was cancelled, before or while it waited.
        """
        with self._changed:
            if key in self._held:
                self._wait(key, flow)
            flow.check()
            self._held.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(key)
                self._changed.notify_all()

    def _wait(self, key: str, flow: Flow) -> None:
        if self._waiting[key] >= self.MOST_WAITING or self._waiting.total() >= self.MOST_TOGETHER:
            raise QueueFull("Too many repeats of this request are waiting.")
        self._waiting[key] += 1
        flow.on_cancel(self._wake)
        try:
            self._changed.wait_for(lambda: key not in self._held or flow.cancelled)
        finally:
            self._waiting[key] -= 1
            self._waiting += collections.Counter()  # keeps no key that nobody awaits

    def _wake(self, _: Flow) -> None:
        with self._changed:
            self._changed.notify_all()
