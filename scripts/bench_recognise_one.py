"""One run of bench_recognise.py, in a process of its own; prints its figures as JSON.

python -m scripts.bench_recognise_one KIND MODEL OUT DEVICE THREADS CLIPS
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain import LABELS, Waveform
from app.recogniser import Flow, Recogniser
from app.recogniser.fast_runtime import FastEncoder, native_dtype
from app.recogniser.load import reference_clips
from app.recogniser.model_dir import read
from scripts.bench_recognise import clips

Found = list[tuple[NDArray[np.float32], NDArray[np.float32]]]  # embedding, scores


def main() -> None:
    kind, model, out, device, threads, most = sys.argv[1:]
    torch.set_num_threads(int(threads))
    waveforms = clips(int(most) or None)
    peaks = {f"peak_{dtype}": peak(dtype, device) for dtype in ("fp32", "bf16")}
    run: Callable[[list[Waveform]], Found]
    if kind == "funasr":
        dtype, run = "fp32", funasr(Path(model), device)
    else:
        dtype = native_dtype(torch.device(device)) if kind == "auto" else kind
        run = fast(Path(model), device, dtype)
    run(waveforms[:8])
    loaded = memory_mb()
    started, cpu = time.perf_counter(), time.process_time()
    found = run(waveforms)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    for name in ("fp32", "bf16"):
        peaks[f"peak_{name}"] = max(peaks[f"peak_{name}"], peak(name, device))
    embeddings, scores = zip(*found, strict=True)
    np.savez(out, embeddings=np.stack(embeddings), scores=np.stack(scores))
    figures = {
        "dtype": dtype,
        "clips": len(waveforms),
        "audio": sum(map(len, waveforms)) / 16_000,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "loaded_mb": loaded,
        "peak_mb": memory_mb(),
        **peaks,
    }
    print(json.dumps(figures))


def funasr(directory: Path, device: str) -> Callable[[list[Waveform]], Found]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from funasr import AutoModel

        model = AutoModel(
            model=str(directory), device=device, disable_update=True, disable_pbar=True
        )

    def one(waveform: Waveform) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with contextlib.redirect_stdout(io.StringIO()):
            [answer] = model.generate(torch.from_numpy(waveform), granularity="utterance")
        scores = np.zeros(len(LABELS), np.float32)
        for name, score in zip(answer["labels"], answer["scores"], strict=True):
            label = "unknown" if name == "<unk>" else name.rpartition("/")[2]
            scores[LABELS.index(label)] = score
        return answer["feats"], scores

    return lambda waveforms: [one(waveform) for waveform in waveforms]


def fast(directory: Path, device: str, dtype: str) -> Callable[[list[Waveform]], Found]:
    encoder = FastEncoder(
        read(directory),
        "bench",
        device=device,
        dtype=dtype,
        bundled=False,
        reference=reference_clips(),
    )
    recogniser = Recogniser(encoder)

    def run(waveforms: list[Waveform]) -> Found:
        futures = [recogniser.submit(waveform, Flow()) for waveform in waveforms]
        return [(one.embedding, one.scores) for one in (future.result() for future in futures)]

    return run


def peak(dtype: str, device: str) -> float:
    """GFLOP/s of the fastest of some square matrix products."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    sizes = (4096, 8192) if device.startswith("cuda") else (1024, 2048)
    best = 0.0
    for size in sizes:
        x = torch.randn(size, size, device=device).to(kind)
        for _ in range(6):
            wait(device)
            started = time.perf_counter()
            torch.nn.functional.linear(x, x)
            wait(device)
            best = max(best, 2 * size**3 / (time.perf_counter() - started) / 1e9)
    return best


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def memory_mb() -> float:
    """Most that the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
