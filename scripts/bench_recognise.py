"""Our encoder against FunASR on the same clips and threads: speed, agreement, memory.

    python -m scripts.bench_recognise [--size large] [--dtype auto] [--device cpu] [--int8]

Makes a model directory of the published size with seeded random weights (or takes --model DIR),
and real clips (EmoDB where it is present, else the voices that ship with the project, repeated).
Runs FunASR's `AutoModel.generate` with its defaults, clip by clip, and ours with the service's
batches and threads, in turn, A B A B, each in a process of its own, so that neither's memory or
threads are the other's. The share of the peak counts the published size's work, 21 GFLOP a second
of audio, against the fastest square matrix product that the machine shows between the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import decode
from app.domain import SAMPLE_RATE, Waveform

ROOT = Path(__file__).parents[1]
EMODB = ROOT.parent / "shared" / "data" / "emodb"
WORK = {"large": 21e9, "base": 13e9}  # floating-point operations a second of audio


def clips(most: int | None) -> list[Waveform]:
    """EmoDB's clips, else 100 stretches of the shipped voices."""
    paths = sorted(EMODB.rglob("*.flac"))[:most]
    if paths:
        found = []
        for path in paths:
            with path.open("rb") as file:
                found.append(decode(file, max_seconds=30).waveforms[0])
        return found
    from app.recogniser.load import reference_clips

    speech = np.concatenate(reference_clips())
    random = np.random.default_rng(0)
    sizes = random.integers(SAMPLE_RATE, len(speech), 100)[:most]
    return [speech[-size:] for size in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="large", choices=["bundled", "base", "large"])
    parser.add_argument("--model", type=Path, help="A model directory instead of random weights.")
    parser.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16", "int8"])
    parser.add_argument("--int8", action="store_true", help="Run ours in int8 too.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clips", type=int, help="Take only so many clips.")
    parser.add_argument("--rounds", type=int, default=2)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        directory = wanted.model or make_model(Path(top) / "model", wanted.size)
        kinds = ["funasr", wanted.dtype, *(["int8"] if wanted.int8 else [])]
        runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for number in range(wanted.rounds):
            for kind in kinds:
                out = Path(top) / f"{kind}-{number}.npz"
                run = measure(kind, directory, wanted, out)
                runs[kind].append(run)
                print(describe(kind, run, wanted.size), flush=True)
        compare(runs, kinds, Path(top))


def make_model(directory: Path, size: str) -> Path:
    from scripts.random_model import write

    return write(directory, size, clips=clips(None)[::45][:12])


def measure(kind: str, directory: Path, wanted: argparse.Namespace, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.bench_recognise_one", kind, str(directory), str(out)]
    command += [wanted.device, str(wanted.threads), str(wanted.clips or 0)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(wanted.threads)}
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, cwd=ROOT)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def describe(kind: str, run: dict[str, Any], size: str) -> str:
    share = ""
    if size in WORK:
        rate = WORK[size] * run["audio"] / run["seconds"] / 1e9
        share = (
            f", {rate:.0f} GFLOP/s = {rate / run['peak_bf16']:.0%} of the bf16 peak "
            f"({run['peak_bf16']:.0f}; fp32 {run['peak_fp32']:.0f})"
        )
    return (
        f"{kind} ({run['dtype']}): {run['clips'] / run['seconds']:.1f} clips/s, real-time factor "
        f"{run['seconds'] / run['audio']:.4f}, loaded {run['loaded_mb']:.0f} MB, peak "
        f"{run['peak_mb']:.0f} MB{share}"
    )


def compare(runs: dict[str, list[dict[str, Any]]], kinds: list[str], top: Path) -> None:
    theirs = np.load(top / "funasr-0.npz")
    mean = theirs["embeddings"].mean(axis=0)
    spread = np.linalg.norm(theirs["embeddings"] - mean, axis=1)
    for kind in kinds[1:]:
        ratio = sum(r["seconds"] for r in runs["funasr"]) / sum(r["seconds"] for r in runs[kind])
        ours = np.load(top / f"{kind}-0.npz")
        a, b = ours["embeddings"], theirs["embeddings"]
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        error = np.linalg.norm(a - b, axis=1) / spread
        same = (ours["scores"].argmax(1) == theirs["scores"].argmax(1)).mean()
        print(
            f"{kind}: {ratio:.2f} times FunASR; worst cosine {cosine.min():.6f}, error "
            f"{error.max():.4f} at worst and {np.median(error):.4f} at the median, scores differ "
            f"by {np.abs(ours['scores'] - theirs['scores']).max():.4f} at worst, top-1 agreement "
            f"{same:.2%}"
        )


if __name__ == "__main__":
    main()
