"""Many commit at once; a change of what they commit to waits for them, and they for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class CommitLock:
    """Held by many for a commit and what follows from it, or by one alone for a switch.

    Who wants it alone is not passed by those who come later. Not reentrant: whoever holds it and
    asks again may wait for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shared = 0
        self._alone = 0  # who hold it alone, or wait for that
        self._one = threading.Lock()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._shared += 1
        try:
            yield
        finally:
            with self._changed:
                self._shared -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._alone += 1
        try:
            with self._one:
                with self._changed:
                    self._changed.wait_for(lambda: not self._shared)
                yield
        finally:
            with self._changed:
                self._alone -= 1
                self._changed.notify_all()
