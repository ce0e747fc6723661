"""The small parts: locks by key, files, the data directory's lock."""

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
from app.errors import DataDirInUse, SettingsError
from app.library.files import KeptAudio, ResultDirs, remove_result_dir, write_result

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
        write_result(path, '{"clip_id": 7}')
        remove_result_dir(path, 8)
        assert (path / "embedding.npy").exists()
        remove_result_dir(path, 7)
        assert not path.exists()
        remove_result_dir(path, 7)

    def test_an_interrupted_removal_is_finished(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = ResultDirs(tmp_path, 1).create(WAVEFORM, None)
        write_result(path, '{"clip_id": 7}')

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
        write_result(tmp_path, '{"clip_id": 7}')
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
