"""What is done now and then, in threads that let requests go first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from app.library.nice import be_nice

RETRY_SECONDS = 30.0  # after a task failed

Task = tuple[float, Callable[[], None]]  # seconds between, and what is done

log = logging.getLogger(__name__)


class Maintenance:
    """Threads that do their tasks until `join`."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, *tasks: Task) -> None:
        """A thread that does each of the tasks at its interval, one after the other."""
        thread = threading.Thread(target=self._maintain, name=name, args=(tasks,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Begin no task any more."""
        self._closing.set()

    def join(self) -> None:
        """Wait for the tasks under way."""
        for thread in self._threads:
            thread.join()

    def _maintain(self, tasks: Sequence[Task]) -> None:
        be_nice()
        due = [time.monotonic() + interval for interval, _ in tasks]
        while not self._closing.wait(0.2):
            for number, (interval, task) in enumerate(tasks):
                if time.monotonic() < due[number]:
                    continue
                try:
                    task()
                    due[number] = time.monotonic() + interval
                except Exception:  # whatever it was, the next try may do better
                    log.exception("Maintenance failed and is tried again.")
                    due[number] = time.monotonic() + max(interval, RETRY_SECONDS)
