"""How fast the service answers: ready after a start, a lone 3 s clip, and many clients.

    python scripts/bench_service.py [--model bundled] [--requests 200]

Starts `emoseek serve` twice on a data directory of its own (the second start is the one that
counts) and posts clips of noise, each different, over HTTP on this machine.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import io
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile

from app.domain import SAMPLE_RATE

RNG = np.random.default_rng(0)


def clip(seconds: float) -> bytes:
    """A 16-bit WAV of soft noise."""
    file = io.BytesIO()
    samples = RNG.standard_normal(int(seconds * SAMPLE_RATE)) * 0.05
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A service on `directory`; `ready` is the seconds from start to ready."""

    def __init__(self, directory: Path, model: str) -> None:
        port = free_port()
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(port), "--model", model],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stderr=subprocess.DEVNULL,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        while True:
            try:
                if self.client.get("/readyz").is_success:
                    break
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                raise SystemExit("the service did not start; run `emoseek serve` to see why")
            time.sleep(0.02)
        self.ready = time.monotonic() - started

    def post(self, content: bytes) -> float:
        """Seconds until the answer."""
        started = time.perf_counter()
        answer = self.client.post(
            "/api/v1/emotion/recognize", files={"audio_file": ("a.wav", content)}
        )
        answer.raise_for_status()
        return time.perf_counter() - started

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def describe(name: str, seconds: list[float]) -> None:
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000, [50, 95, 99])
    print(f"{name:34} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   p99 {p99:7.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        first = Running(directory, options.model)
        first.post(clip(3))
        first.stop()
        service = Running(directory, options.model)
        try:
            print(f"{'ready after a second start':34} {service.ready:.2f} s")
            alone = [service.post(clip(3)) for _ in range(options.requests)]
            describe("recognise, 3 s clip, one client", alone)
            clips = [clip(seconds) for seconds in RNG.uniform(1, 15, options.requests)]
            started = time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(options.clients) as pool:
                together = list(pool.map(service.post, clips))
            elapsed = time.perf_counter() - started
            describe(f"recognise, 1-15 s, {options.clients} clients", together)
            print(f"{'':34} {len(clips) / elapsed:.1f} clips/s")
            searches = []
            for number in range(options.requests):
                begun = time.perf_counter()
                service.client.get(f"/api/v1/clips/{number + 1}/similar").raise_for_status()
                searches.append(time.perf_counter() - begun)
            describe(f"similar among {2 * options.requests + 1}", searches)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
