"""A peer's server in a process of its own."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.bench_service import free_port
from scripts.index_benchmark.measure import descendants

START_SECONDS = 60.0


def installed(program: str) -> str:
    """The path of a program that a package brought into this environment."""
    return str(Path(sys.executable).with_name(program))


class Server:
    """A program that listens on `port` of 127.0.0.1; its files and its log are in `directory`.

    Raises:
        RuntimeError: it did not start; the message is the end of its log.
    """

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        """`{port}` and `{directory}` in the command are replaced."""
        self._temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self._temporary.name)
        self.port = free_port()
        self._command = [word.format(port=self.port, directory=self.directory) for word in command]
        self._environment = os.environ | environment
        self._start()
        atexit.register(self.stop)

    def _start(self) -> None:
        log = self.directory / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdout=file,
                stderr=file,
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self._process.kill()
                raise RuntimeError(f"did not start: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.1)

    @property
    def processes(self) -> list[int]:
        return descendants(self._process.pid)

    def restart(self) -> None:
        """End the process and start it anew on its files."""
        self._end()
        self._start()

    def stop(self) -> None:
        """End the process and remove its files; once more does nothing."""
        self._end()
        self._temporary.cleanup()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
