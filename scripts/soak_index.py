"""Do all engines agree with the exact reference, whatever happens to them?

    python -m scripts.soak_index [--steps 10000] [--seed 0]

The state machine of the tests (tests/index/machine.py) for longer: add, remove, search, filter,
save, load, crash, damage, rebuild, with thresholds so low that every run lives through growth,
compaction and a new build. A step that disagrees ends it, with the shortest way to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.index.machine import Library, lower_thresholds

STEPS_A_RUN = 50
RUNS_AT_ONCE = 20


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args(words)
    begun, rounds = time.perf_counter(), 0
    with pytest.MonkeyPatch.context() as patch:
        lower_thresholds(patch)
        while Library.steps < told.steps:
            run_state_machine_as_test(
                seed(told.seed + rounds)(Library),
                settings=settings(
                    max_examples=RUNS_AT_ONCE,
                    stateful_step_count=STEPS_A_RUN,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                ),
            )
            rounds += 1
    seconds = time.perf_counter() - begun
    print(f"{Library.steps:,} steps in {Library.seen['runs']:,} runs, {seconds:.0f} s")
    print(", ".join(f"{what} {count:,}" for what, count in sorted(Library.seen.items())))
    print(f"recall {Library.found / max(Library.there, 1):.5f} of {Library.there:,} neighbours")


if __name__ == "__main__":
    main()
