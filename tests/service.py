"""A service in a process of its own, as its users run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import requests

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0


class Service:
    """`emoseek serve` with its working directory, data and outputs in `directory`."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.outputs_dir = directory / "outputs"
        self.log = directory / "log"
        self.command = [sys.executable, "-m", "tests.emoseek", "serve"]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("EMOSEEK_")}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "EMOSEEK_MODEL": "bundled",
            **environment,
        }
        self.http = requests.Session()
        if key := environment.get("EMOSEEK_API_KEY"):
            self.http.headers["Authorization"] = f"Bearer {key}"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *, port: int | None = None, **environment: str) -> Self:
        """Start the process, on any free port unless one is given; does not wait."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = port or probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "--port", str(self.port)],
                cwd=self.directory,
                env=self.environment | environment,
                stdout=log,
                stderr=log,
            )
        return self

    def start(self, *, port: int | None = None, **environment: str) -> Self:
        """Start the process and wait until it is ready."""
        self.spawn(port=port, **environment)
        give_up = time.monotonic() + START_SECONDS
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up, self.log.read_text()
            try:
                if self.http.get(f"{self.url}/readyz").ok:
                    return self
            except requests.ConnectionError:
                pass
            time.sleep(0.05)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """End the process if it lives; returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(timeout=60)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.http.get(f"{self.url}/api/v1{path}", params=params)

    def post(self, path: Path, **fields: Any) -> requests.Response:
        """Post a file to recognise."""
        return self.post_bytes(path.read_bytes(), path.name, **fields)

    def post_bytes(
        self, content: bytes, name: str = "a.wav", *, key: str | None = None, **fields: Any
    ) -> requests.Response:
        return requests.post(
            f"{self.url}/api/v1/emotion/recognize",
            files={"audio_file": (name, content)},
            data=fields,
            headers={**self.http.headers, **({"Idempotency-Key": key} if key else {})},
        )

    def store(self, path: Path, **fields: Any) -> int:
        """Post a file that must be accepted; returns its clip id."""
        answer = self.post(path, **fields)
        assert answer.status_code == 200, answer.text
        clip_id: int = answer.json()["clip_id"]
        return clip_id

    def neighbours(self, clip_id: int, **params: Any) -> list[int]:
        """Ids of the clips similar to one."""
        answer = self.get(f"/clips/{clip_id}/similar", **params)
        assert answer.status_code == 200, answer.text
        return [near["clip_id"] for near in answer.json()["neighbours"]]

    def files(self) -> set[str]:
        """Kept audio and result files."""
        return {
            str(path.relative_to(self.directory))
            for top in (self.data_dir / "audio", self.outputs_dir)
            for path in top.rglob("*")
            if path.is_file()
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
