"""A save that ends in the middle."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from index import graph_snapshot, manifest, npy_files, row_files, snapshot
from index.build import Engine

WRITERS = {one.__file__ for one in (graph_snapshot, manifest, npy_files, row_files, snapshot)}


def save_in_a_process_killed_at(line: int, index: Engine, directory: Path, model: str) -> bool:
    """Fork and save; SIGKILL at the n-th line run in the snapshot's code. True: it got through."""
    left = line

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in WRITERS:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    child = os.fork()
    if child == 0:
        try:
            sys.settrace(trace)
            snapshot.save(index, directory, model_digest=model, build=4)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == 0
