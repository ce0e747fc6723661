"""The small parts: admission, locks by key, files, the data directory's lock."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.data_dir import Ownership, stop_owner
from app.errors import ClientGone, DataDirInUse, QueueFull, SettingsError, Unavailable
from app.library.files import KeptAudio, ResultDirs, remove_result_dir, write_result
from app.library.gate import Gate
from app.library.keyed_locks import KeyedLocks
from app.recogniser import Flow

WAVEFORM = np.zeros(1600, np.float32)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """The disk is full, as far as this process's files of more than `size` bytes go."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class TestGate:
    def test_so_many_at_once_so_many_waiting(self) -> None:
        gate, leave = Gate(concurrency=2, queue_length=3), threading.Event()
        inside, most, refused = 0, 0, 0
        lock = threading.Lock()

        def visit() -> None:
            nonlocal inside, most, refused
            try:
                with gate.admit(Flow()):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    leave.wait()
                    with lock:
                        inside -= 1
            except QueueFull:
                with lock:
                    refused += 1

        threads = [threading.Thread(target=visit) for _ in range(9)]
        for thread in threads:
            thread.start()
        while refused < 4 or inside < 2:
            time.sleep(0.001)
        leave.set()
        for thread in threads:
            thread.join()
        assert (most, refused) == (2, 4)

    def test_those_who_wait_are_told_of_a_stop(self) -> None:
        gate, inside, leave = Gate(1, 5), threading.Event(), threading.Event()
        told: list[bool] = []

        def work() -> None:
            with gate.admit(Flow()):
                inside.set()
                leave.wait()

        def wait() -> None:
            try:
                with gate.admit(Flow()):
                    told.append(False)
            except Unavailable:
                told.append(True)

        threads = [threading.Thread(target=work)]
        threads[0].start()
        inside.wait()
        threads += [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads[1:]:
            thread.start()
        while gate.waiting < 3:
            time.sleep(0.001)
        gate.shut()
        leave.set()
        for thread in threads:
            thread.join()
        assert told == [True, True, True]

    def test_closing_waits_for_those_inside_and_admits_no_more(self) -> None:
        gate, leave, closed = Gate(2, 0), threading.Event(), threading.Event()
        inside = threading.Event()

        def visit() -> None:
            with gate.admit(Flow()):
                inside.set()
                leave.wait()

        visitor = threading.Thread(target=visit)
        visitor.start()
        inside.wait()
        closer = threading.Thread(target=lambda: (gate.close(), closed.set()))
        closer.start()
        assert not closed.wait(0.1)
        with pytest.raises(Unavailable), gate.admit(Flow()):
            pass
        leave.set()
        assert closed.wait(10)
        visitor.join()
        closer.join()

    def test_who_hangs_up_while_waiting_frees_the_place(self) -> None:
        gate, gone, leave, told = Gate(1, 1), Flow(), threading.Event(), list[str]()
        inside = threading.Event()

        def work() -> None:
            with gate.admit(Flow()):
                inside.set()
                leave.wait()

        def wait(flow: Flow) -> None:
            try:
                with gate.admit(flow):
                    told.append("in")
            except ClientGone:
                told.append("gone")

        worker = threading.Thread(target=work)
        worker.start()
        inside.wait()
        waiter = threading.Thread(target=wait, args=(gone,))
        waiter.start()
        while not gate.waiting:
            time.sleep(0.001)
        with pytest.raises(QueueFull), gate.admit(Flow()):
            pass
        gone.cancel()
        waiter.join()
        assert told == ["gone"]
        later = threading.Thread(target=wait, args=(Flow(),))
        later.start()
        while not gate.waiting:
            time.sleep(0.001)
        with pytest.raises(ClientGone), gate.admit(gone):
            pass
        leave.set()
        worker.join()
        later.join()
        assert told == ["gone", "in"]

    def test_who_came_first_goes_first(self) -> None:
        gate, order = Gate(1, 10), list[int]()

        def visit(number: int) -> None:
            with gate.admit(Flow()):
                order.append(number)

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(10)]
        with gate.admit(Flow()):
            for number, thread in enumerate(threads):
                thread.start()
                while gate.waiting <= number:
                    time.sleep(0.001)
        for thread in threads:
            thread.join()
        assert order == list(range(10))

    def test_a_failure_inside_frees_the_place(self) -> None:
        gate = Gate(concurrency=1, queue_length=0)
        for _ in range(3):
            with pytest.raises(RuntimeError), gate.admit(Flow()):
                raise RuntimeError


def test_keyed_locks_exclude_equal_keys_only_and_are_forgotten() -> None:
    locks, order = KeyedLocks(), list[str]()

    def visit(key: str, name: str) -> None:
        with locks.hold(key):
            order.append(name)
            time.sleep(0.05)
            order.append(name)

    threads = [threading.Thread(target=visit, args=("same", name)) for name in "abc"]
    with locks.hold("another"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == ["a", "b", "c"]
    assert locks._locks == {}


def test_only_so_many_wait_for_one_key() -> None:
    locks, refused = KeyedLocks(), list[bool]()

    def visit() -> None:
        try:
            with locks.hold("key"):
                pass
        except QueueFull:
            refused.append(True)

    threads = [threading.Thread(target=visit) for _ in range(20)]
    with locks.hold("key"):
        for thread in threads:
            thread.start()
        while len(refused) < 20 - KeyedLocks.MOST_WAITING:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(refused) == 20 - KeyedLocks.MOST_WAITING
    assert locks._locks == {}


class TestResultDirs:
    def test_names_are_never_shared(self, tmp_path: Path) -> None:
        dirs = ResultDirs(tmp_path, 1)
        names: list[Path] = []
        threads = [
            threading.Thread(target=lambda: names.append(dirs.create(WAVEFORM, None)))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(names)) == 20

    def test_only_old_result_directories_are_removed(self, tmp_path: Path) -> None:
        dirs = ResultDirs(tmp_path, max_age_hours=1)
        old, new = dirs.create(WAVEFORM, None), dirs.create(WAVEFORM, None)
        foreign = tmp_path / "outputs_of_my_thesis"
        foreign.mkdir()
        past = time.time() - 3700
        for path in (old, foreign):
            os.utime(path, (past, past))
        assert dirs.remove_old() == 1
        assert set(tmp_path.iterdir()) == {new, foreign}

    def test_another_clips_directory_is_not_removed(self, tmp_path: Path) -> None:
        path = ResultDirs(tmp_path, 1).create(WAVEFORM, np.zeros(3, np.float32))
        write_result(path, {"clip_id": 7})
        remove_result_dir(path, 8)
        assert (path / "embedding.npy").exists()
        remove_result_dir(path, 7)
        assert not path.exists()
        remove_result_dir(path, 7)

    def test_an_interrupted_removal_is_finished(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = ResultDirs(tmp_path, 1).create(WAVEFORM, None)
        write_result(path, {"clip_id": 7})

        def interrupted(directory: Path) -> None:
            (directory / "result.json").unlink()
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", interrupted)
            with pytest.raises(OSError, match="Input/output"):
                remove_result_dir(path, 7)
        remove_result_dir(path, 7)
        assert list(tmp_path.iterdir()) == []

    def test_no_other_directory_is_ever_removed(self, tmp_path: Path) -> None:
        write_result(tmp_path, {"clip_id": 7})
        remove_result_dir(tmp_path, 7)
        assert tmp_path.exists()

    def test_a_failure_leaves_no_directory(self, tmp_path: Path) -> None:
        with files_up_to(4_000), pytest.raises(OSError, match="too large"):
            ResultDirs(tmp_path, 1).create(WAVEFORM, np.zeros(10_000, np.float32))
        assert list(tmp_path.iterdir()) == []


def test_audio_is_settled_discarded_or_removed(tmp_path: Path) -> None:
    kept = KeptAudio(tmp_path)
    settled, left, removed = (kept.keep(WAVEFORM) for _ in range(3))
    kept.settle(settled)
    assert sorted(kept.unsettled()) == sorted([left, removed])
    assert kept.path(settled).exists()
    kept.discard(left)
    kept.remove(removed)  # deleted before it was settled
    with pytest.raises(FileNotFoundError):
        kept.settle(removed)
    kept.remove(settled)
    kept.remove(settled)
    assert list(tmp_path.rglob("*.flac*")) == []


def test_audio_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    with files_up_to(4_000), pytest.raises(OSError, match="too large"):
        KeptAudio(tmp_path).keep(noise)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class TestOwnership:
    def test_a_second_owner_is_refused_with_the_firsts_process(self, tmp_path: Path) -> None:
        first = Ownership(tmp_path)
        with pytest.raises(DataDirInUse, match=f"process {os.getpid()}"):
            Ownership(tmp_path)
        first.release()
        Ownership(tmp_path).release()

    def test_stopping_nobody(self, tmp_path: Path) -> None:
        assert stop_owner(tmp_path) is None
        Ownership(tmp_path).release()
        assert (tmp_path / "emoseek.lock").read_text() == ""
        assert stop_owner(tmp_path) is None

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError, match="EMOSEEK_DATA_DIR"):
            Ownership(tmp_path / "file" / "data")
