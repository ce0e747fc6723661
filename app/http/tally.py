"""Figures of the recognise requests since the start."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np

from app.errors import ClientGone
from app.http.schemas import StatusRequests

WINDOW = 1000  # answered requests that the percentiles look at


class Tally:
    """Counts requests and keeps the latest durations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = 0
        self._seconds: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self._succeeded = 0
        self._hung_up = 0

    @contextlib.contextmanager
    def measure(self, started: float) -> Iterator[None]:
        """Counts the block as succeeded unless it raises. `started` is time.monotonic().

        A client that hung up is counted apart: neither a success nor a failure of the service.
        """
        with self._lock:
            self._total += 1
        try:
            yield
        except ClientGone:
            with self._lock:
                self._hung_up += 1
            raise
        with self._lock:
            self._succeeded += 1
            self._seconds.append(time.monotonic() - started)

    def figures(self) -> StatusRequests:
        with self._lock:
            total, succeeded, hung_up = self._total, self._succeeded, self._hung_up
            seconds = list(self._seconds)
        judged = total - hung_up
        p50, p95 = np.percentile(seconds, [50, 95]) * 1000 if seconds else (None, None)
        return StatusRequests(
            total=total,
            succeeded=succeeded,
            success_rate=succeeded / judged if judged else None,
            hung_up=hung_up,
            p50_ms=p50,
            p95_ms=p95,
        )
