"""`drift`: simulated customers, with a change and without.

The test of app/analysis/drift.py is asked after every clip. It does not know a customer's share of
negative clips, but learns it from the clips that come before, and from the other customers:

- "alike": all customers have the same share;
- "mixed": shares of 0.05, 0.1, 0.2 and 0.3, each of a quarter of the customers;
- "alone": there are no others to learn from.

False alarms are customers without a change who are flagged at least once within a hundred clips.
Found are those flagged within the 60 clips after their share rose by 0.3 for good.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from app.analysis import drift
from app.domain import LABELS, NEGATIVE
from app.settings import Settings

BLOCK = 2000  # states at a time: a megabyte, which a core's cache holds
SHARES = (0.05, 0.1, 0.2, 0.3)
RISE = 0.3
HUNDREDS = (1, 101, 401)  # first clips of those in which false alarms are counted
BEFORE = (100, 200, 400, 900)  # clips before the change
WITHIN = 60  # clips after it
OTHERS = 2000  # customers of a library, who have heard 1 to 60 clips each
MISHEARD = 1.4  # of a made-up recogniser: standard deviation of its logits, 4 apart

Library = Literal["alike", "mixed", "alone"]
LIBRARIES: tuple[Library, ...] = get_args(Library)


class Case(NamedTuple):
    """Customers of a library whose share of negative clips is the same."""

    library: Library
    share: float
    graded: bool
    customers: int
    seed: int


def customers(rng: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(m, n) negative clips, by the share (m, n) that holds for each."""
    return rng.random(shares.shape) < shares


def as_heard(rng: np.random.Generator, negative: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(m, n) whether a recogniser's highest of nine scores says so: it is wrong now and then."""
    of_kind = np.isin(LABELS, NEGATIVE)
    heard = np.empty_like(negative)
    for row, truth in enumerate(negative):
        logits = MISHEARD * rng.standard_normal((len(truth), len(LABELS)))
        for kind in (True, False):
            spoken = rng.choice(np.flatnonzero(of_kind == kind), len(truth))
            logits[np.arange(len(truth)), spoken] += 4.0 * (truth == kind)
        heard[row] = of_kind[logits.argmax(axis=1)]
    return heard


def learnt(
    rng: np.random.Generator, shares: NDArray[np.float64], graded: bool = False
) -> drift.Baseline:
    """The baseline of a library whose customers have these shares."""
    heard = rng.integers(1, 61, len(shares))
    negative = customers(rng, np.repeat(shares[:, None], 60, axis=1))
    if graded:
        negative = as_heard(rng, negative)
    negative &= np.arange(60) < heard[:, None]
    return drift.fit_baseline(drift.Sums.of(negative.sum(axis=1), heard))


def evidence(
    negative: NDArray[np.bool_], baseline: drift.Baseline, first: int, last: int
) -> NDArray[np.float64]:
    """(m,) the most that the evidence came to after any of the clips `first` to `last` (from 1) of
    (m, ≥ last), at most drift.HISTORY."""
    assert last <= drift.HISTORY
    counts = np.concatenate(
        [np.zeros((len(negative), 1), int), np.cumsum(negative, axis=1)], axis=1
    )
    most = np.full(len(negative), -np.inf)
    for clips in range(max(drift.FEWEST, first), last + 1):
        places, total = drift.change_places(clips), counts[:, clips]
        since = total[:, None] - counts[:, places]
        # Many customers are in the same state: each is worked out once.
        least, totals = total.min(), np.ptp(total) + 1
        shape = len(places), drift.WINDOW + 1, totals
        states = np.ravel_multi_index(
            np.broadcast_arrays(np.arange(len(places)), since, total[:, None] - least), shape
        )
        summed = np.zeros(np.prod(shape))
        there = np.flatnonzero(np.bincount(states.ravel(), minlength=len(summed)))
        for start in range(0, len(there), BLOCK):
            some = there[start : start + BLOCK]
            which, after, above = np.unravel_index(some, shape)
            rise, fall = drift.log_ratio(
                above + least - after, above + least, places[which], clips, baseline
            )
            summed[some] = np.exp(rise) + np.exp(fall)
        most = np.maximum(most, np.log(summed[states].sum(axis=1)))
    return most


class Customers:
    """Those of a case, and what is learnt of the others."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = np.random.default_rng([case.seed, LIBRARIES.index(case.library), case.graded])
        self.baseline = drift.UNKNOWN
        if case.library != "alone":
            shares = np.resize([case.share] if case.library == "alike" else SHARES, OTHERS)
            self.baseline = learnt(self.rng, shares, case.graded)

    def steady(self, first: int) -> NDArray[np.float64]:
        """(m,) the most evidence within the hundred clips that begin with `first`, from 1."""
        return self._evidence(0.0, first - 1, 100)

    def moved(self, before: int) -> NDArray[np.float64]:
        """(m,) the most evidence within WITHIN clips after a rise."""
        return self._evidence(RISE, before, WITHIN)

    def _evidence(self, rise: float, before: int, since: int) -> NDArray[np.float64]:
        shares = np.full((self.case.customers, before + since), self.case.share)
        shares[:, before:] += rise
        negative = customers(self.rng, shares)
        if self.case.graded:
            negative = as_heard(self.rng, negative)
        return evidence(negative, self.baseline, before + 1, before + since)


def add_to(parts: Any) -> None:
    """Adds the subcommand to a parser's."""
    parser = parts.add_parser("drift", help="false alarms and found changes, simulated")
    parser.add_argument("--customers", type=int, default=10_000, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    rate = Settings.model_fields["drift_false_alarms"].default
    print(f"flagged from an evidence of {drift.evidence_at(rate):.2f}: {rate:.0%}, the default")
    hundreds = " | ".join(f"clips {first} to {first + 99}" for first in HUNDREDS)
    print(f"| library | share | {hundreds} | " + " | ".join(f"after {n}" for n in BEFORE) + " |")
    print("|---" * (2 + len(HUNDREDS) + len(BEFORE)) + "|")
    cases = [
        Case(library, share, graded, told.customers, told.seed)
        for library in LIBRARIES
        for graded in ((False, True) if library == "mixed" else (False,))
        for share in SHARES
    ]
    for case, flagged in side_by_side(functools.partial(_flagged, rate=rate), cases):
        shares = " | ".join(f"{share:.4f}" for share in flagged)
        print(
            f"| {case.library}{' as heard' * case.graded} | {case.share} | {shares} |", flush=True
        )


def side_by_side(of_case: Any, cases: Sequence[Case]) -> Iterator[tuple[Case, Any]]:
    """What a function gives of each case, in their order, by all cores."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of each process
    with multiprocessing.get_context("spawn").Pool() as pool:
        yield from zip(cases, pool.imap(of_case, cases), strict=True)


def _flagged(case: Case, rate: float) -> list[float]:
    """Shares of the customers: without a change in each of HUNDREDS, with one after BEFORE."""
    those, level = Customers(case), drift.evidence_at(rate)
    found = [*map(those.steady, HUNDREDS), *map(those.moved, BEFORE)]
    return [float((most >= level).mean()) for most in found]
