"""A grouping in a process of its own says what one in this process says, and ends when it shall."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.analysis.facts import Facts
from app.analysis.grouping import ARRAYS, Algorithm, Asked, Grouping, TooFew
from app.analysis.job import Grouper
from app.analysis.process import GroupingProcess, WorkerEnded
from tests.analysis.voices import DAY, Voices, voices
from tests.conftest import ROOT

NOW = 20_000 * DAY


def pages(made: Voices) -> list[tuple[np.ndarray, Facts]]:
    return [
        (made.vectors[start : start + 100], made.facts.at(slice(start, start + 100)))
        for start in range(0, len(made.vectors), 100)
    ]


def apart(made: Voices, asked: Asked) -> Grouping:
    with GroupingProcess(asked, made.vectors, made.facts.scores) as process:
        for page in pages(made):
            process.add(*page)
        told = process.steps()
        steps = [next(told)]
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=1" in environment
        *more, found = told
        steps += more
    assert steps == ["clusters", "profiles", "map"]
    assert isinstance(found, Grouping)
    return found


@pytest.mark.parametrize("algorithm", ["hdbscan", "kmeans"])
def test_it_is_the_same_to_the_last_bit(
    algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = voices(130), Asked(algorithm, None, 11, NOW)
    one = apart(made, asked)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    two = apart(made, asked)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.profiles == two.profiles
    assert (one.names, one.outliers, one.silhouette) == (two.names, two.outliers, two.silhouette)
    assert one.parameters == two.parameters
    grouper = Grouper(asked, made.vectors, made.facts.scores)
    for page in pages(made):
        grouper.add(*page)
    here = grouper.group(lambda _: None)
    np.testing.assert_array_equal(one.labels, here.labels)
    assert one.names == here.names
    assert [p.exemplars for p in one.profiles] == [p.exemplars for p in here.profiles]


@pytest.mark.parametrize(("count", "asked"), [(12, None), (30, 31)])
def test_too_few_clips_are_told(count: int, asked: int | None) -> None:
    with pytest.raises(TooFew, match=f"^{count} clips"):
        apart(voices(count), Asked("kmeans", asked, 0, NOW))


def test_killed_it_is_told() -> None:
    made = voices(300)
    with GroupingProcess(Asked("kmeans", None, 0, NOW), made.vectors, made.facts.scores) as process:
        process.kill()
        for page in pages(made) * 50:  # more than a pipe holds
            process.add(*page)
        with pytest.raises(WorkerEnded):
            list(process.steps())


def test_it_ends_with_whoever_asked() -> None:
    """Before its work is done: whatever it would answer still has a reader."""
    script = """
import subprocess, time
from app.analysis.grouping import Asked
from app.analysis.process import GroupingProcess
from tests.analysis.test_process import pages
from tests.analysis.voices import voices
made = voices(12_000)
process = GroupingProcess(Asked("hdbscan", None, 0, 0), made.vectors, made.facts.scores)
for page in pages(made):
    process.add(*page)
print(next(process.steps()), flush=True)
subprocess.Popen(["cat"], stdin=process._out)
print("reads", flush=True)
time.sleep(600)
"""
    asking = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert asking.stdout is not None
    with asking.stdout:
        assert [asking.stdout.readline() for _ in range(2)] == [b"clusters\n", b"reads\n"]
        os.kill(asking.pid, signal.SIGKILL)
        asking.wait()
        assert b"grouping" not in asking.stdout.read()
