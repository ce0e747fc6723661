"""How much memory the service takes: idle, over many short clips, and over files of hours.

    python -m scripts.bench_memory [--model bundled] [--requests 2000] [--minutes 60 120]

Starts `emoseek serve` on a data directory of its own. The calls are the project's synthesised
voices with pauses in noise, as FLAC; each file is posted once. RSS is all of the process in
memory, files that it has mapped included; anonymous is what it has allocated. The peak is told of
each eighth of the short clips, so that growth shows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from app.domain import SAMPLE_RATE
from scripts.bench_service import RNG, Running

VOICES = sorted((Path(__file__).parents[1] / "tests" / "data").glob("*_voice_*.flac"))
SAMPLING_SECONDS = 0.02


def write_call(path: Path, seconds: float) -> None:
    """Voices of changing loudness and pauses of up to a second, in noise."""
    voices = [soundfile.read(voice, dtype="float32")[0] for voice in VOICES]
    left = int(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        while left > 0:
            voice = voices[RNG.integers(len(voices))] * RNG.uniform(0.2, 1)
            pause = np.zeros(int(RNG.uniform(0.1, 1) * SAMPLE_RATE), np.float32)
            said: NDArray[np.float32] = np.concatenate([voice, pause])[:left]
            file.write(said + RNG.normal(0, 1e-3, len(said)))
            left -= len(said)


class Peak:
    """Prints the largest memory of a process during the block, in MB, and how long it took."""

    def __init__(self, name: str, process: int, idle: tuple[int, int] | None = None) -> None:
        self._name = name
        self._status = Path(f"/proc/{process}/status")
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._sample)
        self._idle = idle
        self.found = (0, 0)  # MB: RSS, anonymous

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._watch.join()
        rss, anonymous = self.found
        more = (
            f"   idle +{rss - self._idle[0]:5} +{anonymous - self._idle[1]:5}" if self._idle else ""
        )
        seconds = time.monotonic() - self._started
        print(
            f"{self._name:24} RSS {rss:5} MB   anonymous {anonymous:5} MB{more}   {seconds:.0f} s"
        )

    def _sample(self) -> None:
        while not self._over.wait(SAMPLING_SECONDS):
            lines = dict(line.split(":", 1) for line in self._status.read_text().splitlines())
            now = (int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "RssAnon"))
            self.found = (max(self.found[0], next(now)), max(self.found[1], next(now)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--minutes", type=float, nargs="*", default=[60.0, 120.0])
    options = parser.parse_args()
    os.environ |= {"EMOSEEK_MAX_SECONDS": "14400", "EMOSEEK_MAX_UPLOAD_MB": "4096"}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        service = Running(directory, options.model)
        service.client.timeout = None
        try:
            with Peak("idle", service.process.pid) as idle:
                time.sleep(1)
            eighths = np.array_split(RNG.uniform(0.5, 30, options.requests) / 60, 8)
            kinds = [("0.5 to 30 s", lengths) for lengths in eighths]
            kinds += [(f"{minutes:g} minutes", np.array([minutes])) for minutes in options.minutes]
            for kind, lengths in kinds:
                with Peak(f"{len(lengths)} of {kind}", service.process.pid, idle.found):
                    for minutes in lengths:
                        write_call(directory / "call.flac", minutes * 60)
                        service.post((directory / "call.flac").read_bytes())
        finally:
            service.stop()


if __name__ == "__main__":
    main()
