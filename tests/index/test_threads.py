"""Threads that searches share."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRIORITIES = """
import os, threading, time
from index.threads import THREADS, side_by_side

def priority(part):
    time.sleep(0.05)
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

def of_maintenance():
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    side_by_side(priority, range(4 * THREADS))

before = os.getpriority(os.PRIO_PROCESS, 0)
first = threading.Thread(target=of_maintenance)
first.start()
first.join()
assert set(side_by_side(priority, range(4 * THREADS))) == {before}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no such priority")
def test_searches_do_not_take_over_the_priority_of_maintenance() -> None:
    """In a process of its own: the threads are started once."""
    subprocess.run([sys.executable, "-c", PRIORITIES], check=True, timeout=60)
