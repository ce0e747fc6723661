"""The process that `app.analysis.process` starts: one grouping, then it ends."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from typing import BinaryIO

from app.analysis.facts import Facts
from app.analysis.grouping import ARRAYS, Asked, TooFew
from app.analysis.job import Grouper
from app.analysis.pipe import read_arrays, read_json, write_arrays, write_json


def serve(pipe: BinaryIO, out: BinaryIO) -> None:
    """Read what is asked and a sample, then pages for as long as a line says `true`; write lines
    of progress, then the grouping or why there is none.

    Raises:
        EOFError: whoever asked has ended.
    """
    asked = Asked(**read_json(pipe))
    try:
        grouper = Grouper(asked, *read_arrays(pipe, 2))
        while read_json(pipe):
            vectors, *columns = read_arrays(pipe, 1 + len(Facts._fields))
            grouper.add(vectors, Facts(*columns))
        threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
        grouping = grouper.group(lambda step: _tell(out, {"step": step}))
    except TooFew as exc:
        _tell(out, {"too_few": [exc.count, exc.wanted]})
        return
    profiles = [dataclasses.asdict(one) for one in grouping.profiles]
    told = {name: getattr(grouping, name) for name in ("names", "outliers", "silhouette")}
    _tell(out, {"grouping": told | {"parameters": grouping.parameters, "profiles": profiles}})
    write_arrays(out, tuple(getattr(grouping, name) for name in ARRAYS))
    out.flush()


def _tell(out: BinaryIO, line: object) -> None:
    write_json(out, line)
    out.flush()


def _end_with(pipe: BinaryIO) -> None:
    """Whoever asked keeps the pipe open: its end, also by kill -9, is the end of the work."""
    pipe.read()
    os._exit(1)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    serve(sys.stdin.buffer, answers)
    answers.close()
    os._exit(0)  # the thread that waits at the pipe would not let it end
