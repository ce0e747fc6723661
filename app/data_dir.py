"""The data directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import IO

from app.errors import DataDirInUse, SettingsError

LOCK_NAME = "emoseek.lock"


class Ownership:
    """Holds a data directory until `release` or the end of the process, however it ends.

    Raises:
        DataDirInUse: another process owns it; the message says which.
        SettingsError: the directory cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # recordings are private
            self._file = (data_dir / LOCK_NAME).open("a+")
        except OSError as exc:
            raise SettingsError(
                f"EMOSEEK_DATA_DIR: {data_dir} cannot be written ({exc.strerror})."
            ) from exc
        if not _lock(self._file, timeout=0.5):  # `stop` holds it for a moment to look
            owner = _read_pid(self._file)
            self._file.close()
            raise DataDirInUse(
                f"The data directory {data_dir} is in use by process {owner}. "
                "Stop it first, or set EMOSEEK_DATA_DIR to another directory."
            )
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid()}))
        self._file.flush()

    def release(self) -> None:
        self._file.truncate(0)
        self._file.close()


def stop_owner(data_dir: Path, timeout: float = 60.0) -> int | None:
    """Ask the process that owns `data_dir` to stop, and wait until it has.

    Returns:
        Its process id, or None when no process owns the directory.

    Raises:
        DataDirInUse: it did not stop within `timeout` seconds.
    """
    path = data_dir / LOCK_NAME
    if not path.exists():
        return None
    with path.open("r+") as file:
        if _lock(file):
            return None
        pid = _read_pid(file)
        if pid is None:
            raise DataDirInUse(f"The owner of {data_dir} is still starting; try again.")
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:  # in another container, or gone just now
            pass
        except PermissionError as exc:
            raise DataDirInUse(f"Process {pid} belongs to another user; stop it there.") from exc
        if not _lock(file, timeout):
            raise DataDirInUse(f"Process {pid} did not stop within {timeout:.0f} s.")
    return pid


def _lock(file: IO[str], timeout: float = 0.0) -> bool:
    give_up = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.02)
        else:
            return True


def _read_pid(file: IO[str]) -> int | None:
    file.seek(0)
    try:
        return int(json.loads(file.read())["pid"])
    except (ValueError, KeyError, TypeError):
        return None
