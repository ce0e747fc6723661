"""Threads that let requests go first."""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

NICE: Final = 10


def be_nice() -> None:
    """From now on the thread that calls this goes after those of requests, for good."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
