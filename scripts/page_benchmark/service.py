"""`emoseek serve` with the page or without it, and a library of made-up clips and voices in it."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

from app.domain import LABELS, SAMPLE_RATE
from scripts.bench_service import free_port

ROOT = Path(__file__).parents[2]
VOICES = sorted((ROOT / "tests" / "data").glob("*_voice_*.flac"))
PLAIN = "from app.cli import main; main()"
# Not even imported: what is there instead gives out nothing.
BARE = f"""
import sys, types
nothing = types.SimpleNamespace(install=lambda app: None, is_open=lambda path: False)
sys.modules["app.ui.page"] = nothing
{PLAIN}
"""
DIMENSION = 192  # of the bundled model's embeddings
CENTRES = 20  # of the made-up embeddings; a tenth is near none of them
CUSTOMERS, AGENTS = 300, 20
DAYS = 365
SETTLED_POLLS = 3  # half a second apart
GIVE_UP_SECONDS = 300.0


def note(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Service:
    """A service on `directory` with the bundled model; not waited for."""

    def __init__(self, directory: Path, *, page: bool = True) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("EMOSEEK_")}
        self._environment = inherited | {"PYTHONPATH": str(ROOT), "EMOSEEK_MODEL": "bundled"}
        self.http = httpx.Client(base_url=self.url, timeout=120)
        self.begun = time.perf_counter()
        self.process = self._spawn(page)

    def _spawn(self, page: bool) -> subprocess.Popen[bytes]:
        code = PLAIN if page else BARE
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, "serve", "--port", str(self.port)],
                cwd=self.directory,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def answers(self, path: str) -> float:
        """Waits until a path answers 200; seconds from the start of the process to that."""
        while time.perf_counter() < self.begun + GIVE_UP_SECONDS:
            try:
                if self.http.get(path).is_success:
                    return time.perf_counter() - self.begun
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(self._log.read_text())
            time.sleep(0.005)
        raise SystemExit(f"{path} does not answer")

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self.http.get(f"/api/v1{path}", params=params).raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def make(self, path: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Begins a cluster run or a report, and waits until it is done."""
        made = self.http.post(f"/api/v1{path}", json=wanted).raise_for_status().json()
        begun = time.perf_counter()
        while time.perf_counter() < begun + GIVE_UP_SECONDS:
            told = self.get(f"{path}/{made['id']}")
            if told["state"] not in ("queued", "running"):
                assert told["state"] == "done", told
                note(f"{path} in {time.perf_counter() - begun:.1f} s")
                return told
            time.sleep(0.2)
        raise SystemExit(f"{path} is not done after {GIVE_UP_SECONDS:g} s")

    def import_vectors(self, clips: int) -> None:
        """Made-up clips by `emoseek import-vectors`; waits until they are searched and counted."""
        npy, meta = self.directory / "made_up.npy", self.directory / "made_up.csv"
        write(npy, meta, clips)
        command = [sys.executable, "-m", "app.cli", "import-vectors", str(npy)]
        subprocess.run(
            [*command, "--meta", str(meta), "--url", self.url],
            cwd=self.directory,
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.settle()

    def settle(self) -> None:
        """Waits until the index is in its final form and the lists of customers are up to date."""
        polls = 0
        while polls < SETTLED_POLLS:
            index = self.get("/status")["index"]
            current = self.get("/customers", limit=1)["up_to_date"]
            whole = index["state"] == "ready" and index["size"] == index["expected"]
            polls = polls + 1 if whole and current else 0
            time.sleep(0.5)

    def post(self, content: bytes, **fields: str) -> int:
        """Has a recording recognised; its clip's id."""
        answer = self.http.post(
            "/api/v1/emotion/recognize", files={"audio_file": ("a.flac", content)}, data=fields
        )
        clip_id: int = answer.raise_for_status().json()["clip_id"]
        return clip_id

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def write(npy: Path, meta: Path, clips: int) -> None:
    """Vectors around some centres, each with an emotion that is frequent there, over a year."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, DIMENSION))
    usual = rng.integers(0, len(LABELS), CENTRES)
    of = rng.integers(0, CENTRES, clips)
    alone = rng.random(clips) < 0.1
    noise = rng.standard_normal((clips, DIMENSION))
    np.save(npy, np.where(alone[:, None], 0, centres[of]).astype(np.float32) + noise * 0.7)
    weights = np.full((clips, len(LABELS)), 0.3)
    weights[np.arange(clips), usual[of]] += 2
    drawn = rng.standard_gamma(weights)
    scores = drawn / drawn.sum(axis=1, keepdims=True)
    customers = (CUSTOMERS * rng.random(clips) ** 2).astype(int)  # some have many clips
    agents = rng.integers(0, AGENTS, clips)
    minutes = rng.integers(0, DAYS * 24 * 60, clips)
    last = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with meta.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["customer_id", "agent_id", "recorded_at", "tags", "emotion", *LABELS],
        )
        for row in range(clips):
            at = last - dt.timedelta(minutes=int(minutes[row]))
            rows.writerow(
                [
                    f"customer {customers[row]}",
                    f"agent {agents[row]}",
                    at.isoformat(),
                    f"queue {row % 7};{'call' if row % 3 else 'message'}",
                    LABELS[int(scores[row].argmax())],
                    *(f"{score:.6f}" for score in scores[row]),
                ]
            )


def recordings(count: int) -> list[bytes]:
    """FLACs of three voices after each other, each at a speed of its own."""
    rng = np.random.default_rng(1)
    voices = [soundfile.read(path, dtype="float32")[0] for path in VOICES]
    found = []
    for _ in range(count):
        chosen = [_at_a_speed(voices[rng.integers(len(voices))], rng) for _ in range(3)]
        file = io.BytesIO()
        soundfile.write(file, np.concatenate(chosen), SAMPLE_RATE, format="FLAC")
        found.append(file.getvalue())
    return found


def _at_a_speed(voice: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    places = np.arange(0, len(voice) - 1, rng.uniform(0.75, 1.3))
    samples: NDArray[np.float64] = np.interp(places, np.arange(len(voice)), voice)
    return samples
