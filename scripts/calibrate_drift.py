"""How much evidence of drift comes up by chance: CALIBRATION of app/analysis/drift.py.

    python -m scripts.calibrate_drift [--customers 20000] [--seed 1]

Customers are simulated who never change, as scripts/analysis_benchmark/drifting.py says. Of those
of a library who have the same share of negative clips, the evidence is noted that a given part of
them reach within a hundred clips; the largest is the calibration.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.analysis_benchmark.drifting import (
    HUNDREDS,
    LIBRARIES,
    SHARES,
    Case,
    Customers,
    side_by_side,
)

RATES = (0.1, 0.03, 0.01, 0.003, 0.001)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=20_000, help="of each library and share")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(words)
    cases = [
        Case(library, share, False, told.customers, told.seed)
        for library in LIBRARIES
        for share in SHARES
    ]
    print("part of the customers:", *(f"{rate:8}" for rate in RATES))
    highest = np.full(len(RATES), -np.inf)
    for case, found in side_by_side(levels, cases):
        for first, of_hundred in zip(HUNDREDS, found, strict=True):
            told_levels = " ".join(f"{level:8.2f}" for level in of_hundred)
            print(f"{case.library} {case.share}, from clip {first}: {told_levels}", flush=True)
        highest = np.maximum(highest, found.max(axis=0))
    print("CALIBRATION = (")
    for rate, level in zip(RATES, highest, strict=True):
        print(f"    ({rate}, {level:.2f}),")
    print(")")


def levels(case: Case) -> NDArray[np.float64]:
    """(HUNDREDS, RATES) the evidence that so many reach."""
    those = Customers(case)
    return np.array([np.quantile(those.steady(first), 1 - np.array(RATES)) for first in HUNDREDS])


if __name__ == "__main__":
    main()
