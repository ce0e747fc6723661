"""Loading a model takes up to minutes and cannot be interrupted; waiting for it can."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from app.errors import Unavailable
from app.recogniser import Loaded

LOOK_SECONDS = 0.1


def unless_stopping(stopping: threading.Event, load: Callable[[], Loaded]) -> Loaded:
    """What `load` gives, in a thread of its own that is left to itself when the service stops:
    nothing depends on what it does.

    Raises:
        Unavailable: the service stops.
        Exception: whatever `load` raises.
    """
    loading: Future[Loaded] = Future()

    def work() -> None:
        try:
            loading.set_result(load())
        except BaseException as exc:  # of whoever waits
            loading.set_exception(exc)

    threading.Thread(target=work, name="loading", daemon=True).start()
    while not wait([loading], LOOK_SECONDS).done:
        if stopping.is_set():
            loading.add_done_callback(_close)
            raise Unavailable("The service is stopping.")
    return loading.result()


def _close(loading: Future[Loaded]) -> None:
    with contextlib.suppress(BaseException):
        loading.result().recogniser.close()
