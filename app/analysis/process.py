"""A grouping in a process of its own.

HDBSCAN and t-SNE hold the interpreter for many seconds, in which no request would be answered. And
with one thread each for BLAS and OpenMP, said before they are loaded, the answer is the same to the
last bit however many cores there are and whoever else computes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import Facts
from app.analysis.grouping import ARRAYS, Asked, Grouping, TooFew
from app.analysis.pipe import read_arrays, read_json, write_arrays, write_json
from app.analysis.profiles import Leader, Profile, Trend

Vectors = NDArray[np.float32]

ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerEnded(Exception):
    """It was killed, also by the system for the memory that it took, or failed; the log has its
    words."""


class GroupingProcess:
    """Fed like a `Grouper`. It runs at the priority of the thread that makes it, and ends with the
    block that it is used in, with `kill`, or with this process."""

    def __init__(self, asked: Asked, vectors: Vectors, scores: Vectors) -> None:
        """vectors (s, D) and scores (s, 9) of a sample of the clips."""
        paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.analysis.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._ended = False  # its answer says why
        self._send(dataclasses.asdict(asked), vectors, scores)

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, vectors: Vectors, facts: Facts) -> None:
        """A page of the clips: embeddings (n, D) and what else is known of them."""
        self._send(True, vectors, *facts)

    def steps(self) -> Iterator[str | Grouping]:
        """After the last page: the name of each step as it begins, at last the grouping.

        Raises:
            TooFew
            WorkerEnded
        """
        self._send(False)
        while True:
            try:
                line = read_json(self._out)
                if "grouping" in line:
                    yield _grouping(line["grouping"], read_arrays(self._out, len(ARRAYS)))
                    return
            except EOFError as exc:
                raise WorkerEnded(f"status {self._process.wait()}") from exc
            if "too_few" in line:
                raise TooFew(*line["too_few"])
            yield line["step"]

    def kill(self) -> None:
        """From any thread; whoever waits for it gets WorkerEnded."""
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # what was not sent yet
            self._in.close()
        self._out.close()
        self._process.wait()

    def _send(self, line: object, *arrays: NDArray[Any]) -> None:
        if self._ended:
            return
        try:
            write_json(self._in, line)
            write_arrays(self._in, arrays)
            self._in.flush()
        except BrokenPipeError:
            self._ended = True


def _grouping(told: dict[str, Any], arrays: tuple[NDArray[Any], ...]) -> Grouping:
    found = dict(zip(ARRAYS, arrays, strict=True))
    return Grouping(
        names=tuple(told["names"]),
        profiles=tuple(_profile(one) for one in told["profiles"]),
        outliers=told["outliers"],
        silhouette=told["silhouette"],
        parameters=told["parameters"],
        **found,
    )


def _profile(told: dict[str, Any]) -> Profile:
    leaders = {name: tuple(Leader(**one) for one in told[name]) for name in ("customers", "agents")}
    trend = Trend(**told["trend"] | {"clips": tuple(told["trend"]["clips"])})
    tuples = {name: tuple(told[name]) for name in ("emotions", "exemplars")}
    scores = None if told["scores"] is None else tuple(told["scores"])
    return Profile(**told | leaders | tuples | {"trend": trend, "scores": scores})
