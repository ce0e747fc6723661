"""How much evidence of drift comes up by chance: CALIBRATION of app/analysis/drift.py.

    python -m scripts.calibrate_drift [--customers 20000] [--seed 0]

Libraries are simulated whose customers never change, each with one share of negative clips for
all, or with shares that differ from customer to customer. The baseline is learnt from the library
as the service learns it. Of each library the evidence is noted that a given share of its customers
reach within their clips 1 to 100, and within 101 to 200; the largest is the calibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.analysis_benchmark import drifting

RATES = (0.1, 0.03, 0.01, 0.003, 0.001)
Shares = Callable[[np.random.Generator, int], NDArray[np.float64]]


def alike(share: float) -> Shares:
    return lambda _, customers: np.full(customers, share)


def unlike(mean: float, concentration: float) -> Shares:
    a, b = mean * concentration, (1 - mean) * concentration
    return lambda rng, customers: rng.beta(a, b, customers)


LIBRARIES: dict[str, Shares] = {
    **{f"all {share}": alike(share) for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
    "beta, mean 0.15, concentration 10": unlike(0.15, 10),
    "beta, mean 0.3, concentration 5": unlike(0.3, 5),
}


def levels(name: str, customers: int, seed: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The evidence that RATES of a library's customers reach, for each hundred of clips."""
    rng = np.random.default_rng([seed, list(LIBRARIES).index(name)])
    shares = LIBRARIES[name](rng, customers)
    negative = drifting.customers(rng, np.repeat(shares[:, None], 200, axis=1))
    baseline = drifting.learnt(negative[:, :100])
    for first, last in ((1, 100), (101, 200)):
        reached = drifting.evidence(negative, baseline, first, last)
        yield f"clips {first} to {last}", np.quantile(reached, 1 - np.array(RATES))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=20_000, help="of each library")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args(words)
    print("share of customers:", *(f"{rate:8}" for rate in RATES))
    highest = np.full(len(RATES), -np.inf)
    for name in LIBRARIES:
        for clips, found in levels(name, told.customers, told.seed):
            print(f"{name}, {clips}:", *(f"{level:8.2f}" for level in found), flush=True)
            highest = np.maximum(highest, found)
    print("CALIBRATION = (")
    for rate, level in zip(RATES, highest, strict=True):
        print(f"    ({rate}, {level:.2f}),")
    print(")")


if __name__ == "__main__":
    main()
