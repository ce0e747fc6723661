"""One lock a key, there only while somebody holds or awaits it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from app.errors import QueueFull


class KeyedLocks:
    """Threads with equal keys go one after the other; others do not notice."""

    MOST_WAITING = 8  # each holds a thread of the server

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}  # and how many want it

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Raises QueueFull when too many wait for this key."""
        with self._guard:
            lock, wanted = self._locks.get(key, (threading.Lock(), 0))
            if wanted > self.MOST_WAITING:
                raise QueueFull("Too many repeats of this request are waiting.")
            self._locks[key] = lock, wanted + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, wanted = self._locks.pop(key)
                if wanted > 1:
                    self._locks[key] = lock, wanted - 1
