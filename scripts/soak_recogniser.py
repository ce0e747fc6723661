"""Do many threads at once get the answers that one alone gets?

    python scripts/soak_recogniser.py [--model DIR] [--seconds 60] [--threads 64]

Recognises clips of 0.03 to 30 s one by one, then again from many threads that go on for a while,
and prints how many answers there were, in how many batches, and how far the worst was off.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from app.domain import SAMPLE_RATE, Recognition, Waveform
from app.recogniser import Recogniser, load
from app.settings import load_settings

CLIPS = 48


@dataclasses.dataclass(frozen=True, slots=True)
class Soaked:
    """`worst_embedding` is ‖a − b‖ / ‖b − mean‖, b being the answer of one thread."""

    answers: int
    batches: int
    worst_embedding: float
    worst_score: float


def soak(
    recogniser: Recogniser, waveforms: Sequence[Waveform], seconds: float, threads: int
) -> Soaked:
    """Compare what `threads` threads are answered with what one is, each clip at least once."""
    alone = [recogniser.recognise(waveform) for waveform in waveforms]
    mean = np.mean([found.embedding for found in alone], axis=0)
    batches = recogniser.batching().batches
    stop_at = time.monotonic() + seconds

    def error(found: Recognition, expected: Recognition) -> tuple[float, float]:
        off = np.linalg.norm(found.embedding - expected.embedding)
        spread = np.linalg.norm(expected.embedding - mean)
        return float(off / spread), float(np.abs(found.scores - expected.scores).max())

    def listen(seed: int) -> list[tuple[float, float]]:
        order = np.random.default_rng(seed)
        errors: list[tuple[float, float]] = []
        while not errors or time.monotonic() < stop_at:
            i = int(order.integers(len(waveforms)))
            errors.append(error(recogniser.recognise(waveforms[i]), alone[i]))
        return errors

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        errors = [one for found in pool.map(listen, range(threads)) for one in found]
    return Soaked(
        answers=len(errors),
        batches=recogniser.batching().batches - batches,
        worst_embedding=max(embedding for embedding, _ in errors),
        worst_score=max(score for _, score in errors),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a directory, a model id, or bundled")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--runtime", help="as EMOSEEK_RUNTIME")
    parser.add_argument("--device", help="as EMOSEEK_DEVICE")
    parser.add_argument("--dtype", help="as EMOSEEK_DTYPE")
    options = parser.parse_args()
    settings = load_settings(
        model=options.model, runtime=options.runtime, device=options.device, dtype=options.dtype
    )
    recogniser = load(settings, None).recogniser
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.uniform(np.log(0.03), np.log(30), CLIPS)) * SAMPLE_RATE
    waveforms = [
        (rng.standard_normal(int(n)) * rng.uniform(0.01, 0.3)).astype(np.float32) for n in lengths
    ]
    found = soak(recogniser, waveforms, options.seconds, options.threads)
    recogniser.close()
    print(
        f"{recogniser.info.id}, {recogniser.runtime} on {recogniser.device} in "
        f"{recogniser.dtype}: {found.answers} answers to {options.threads} threads in "
        f"{found.batches} batches; worst embedding error {found.worst_embedding:.2e}, worst "
        f"score difference {found.worst_score:.2e}"
    )


if __name__ == "__main__":
    main()
