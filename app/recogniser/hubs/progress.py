"""How far a download is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Self

from tqdm import tqdm

LOG_SECONDS = 10.0  # between two lines
MB = 1e6

log = logging.getLogger(__name__)


class Progress:
    """Bytes of one model's files as they arrive. Safe from several threads at once."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._arrived: dict[str, int] = {}
        self._bar = (
            tqdm(desc=model_id, unit="B", unit_scale=True, file=sys.stderr, leave=True)
            if sys.stderr.isatty()
            else None
        )
        self._next_line = time.monotonic() + LOG_SECONDS

    def start(self, name: str, size: int) -> None:
        """A file begins, or begins anew (bytes)."""
        with self._lock:
            self._sizes[name] = size
            self._arrived[name] = 0
            self._show()

    def advance(self, name: str, count: int) -> None:
        """More bytes of a file are there; fewer, when `count` is negative."""
        with self._lock:
            self._arrived[name] += count
            self._show()

    def _show(self) -> None:
        total, arrived = sum(self._sizes.values()), sum(self._arrived.values())
        if self._bar is not None:
            self._bar.total, self._bar.n = total, arrived
            self._bar.update(0)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_SECONDS
            log.info(
                "Downloading %s: %.0f of %.0f MB (%.0f %%).",
                self._model_id,
                arrived / MB,
                total / MB,
                100 * arrived / max(total, 1),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
