"""The test of a changed share, against its definition and on simulated customers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.analysis import drift as drifts
from app.analysis.drift import Baseline, Sums, drift, evidence_at, false_alarm_rate, fit_baseline
from scripts.analysis_benchmark import drifting

LEARNT = Baseline(0.15, 14.0)


def clips(*shares: tuple[int, float]) -> NDArray[np.bool_]:
    """Numbers of clips of which these shares are negative, evenly."""
    return np.concatenate([np.diff(np.arange(n + 1) * share // 1) > 0 for n, share in shares])


def flagged(negative: NDArray[np.bool_], rate: float = 0.01) -> bool:
    found = drift(negative, LEARNT)
    return found is not None and found.evidence >= evidence_at(rate)


def test_a_rise_is_told_with_its_place_and_size() -> None:
    found = drift(clips((100, 0.1), (50, 0.5)), LEARNT)
    assert found is not None
    assert found.evidence >= evidence_at(0.001)
    assert abs(found.change - 100) <= 3
    assert found.clips_before == found.change
    assert found.clips_before + found.clips_since == 150
    assert (found.before, found.since) == pytest.approx((0.1, 0.5), abs=0.03)
    assert found.false_alarm_rate == false_alarm_rate(found.evidence) < 0.001


def test_a_fall_is_told_as_one() -> None:
    found = drift(clips((100, 0.6), (50, 0.1)), LEARNT)
    assert found is not None
    assert found.evidence >= evidence_at(0.01)
    assert found.since < found.before
    assert abs(found.change - 100) <= 5


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 1.0])
def test_nothing_is_flagged_where_nothing_changes(share: float) -> None:
    for number in (drifts.FEWEST, 50, 200, 1000):
        assert not flagged(clips((number, share)), 0.1)


def test_too_few_clips_say_nothing() -> None:
    assert drift(clips((drifts.FEWEST - 1, 0.5)), LEARNT) is None
    assert drift(clips((drifts.FEWEST, 0.5)), LEARNT) is not None


def test_the_latest_clips_count() -> None:
    latest = clips((drifts.HISTORY - 50, 0.1), (50, 0.5))
    found = drift(latest, LEARNT)
    longer = drift(np.concatenate([clips((300, 0.9)), latest]), LEARNT)
    assert found is not None
    assert longer is not None
    assert longer.change == found.change + 300
    assert (longer.evidence, longer.before) == (found.evidence, found.before)


def test_the_evidence_is_what_its_definition_says() -> None:
    """Every place, share and shift by itself."""
    random = np.random.default_rng(0)
    negative = random.random(30) < 0.3
    prior = drifts._prior(LEARNT)

    def likelihood(some: NDArray[np.bool_], share: float) -> float:
        return float(np.prod(np.where(some, share, 1 - share)))

    unchanged = sum(
        weight * likelihood(negative, share)
        for share, weight in zip(drifts.SHARES, prior, strict=True)
    )
    ratio = 0.0
    for place in range(drifts.FEWEST_BEFORE, 30 - drifts.FEWEST_SINCE + 1):
        for share, weight in zip(drifts.SHARES, prior, strict=True):
            for sign, belief in ((1, drifts.RISE), (-1, 1 - drifts.RISE)):
                since = share + sign * drifts.SHIFT
                if 0.005 < since < 0.995:
                    changed = likelihood(negative[:place], share)
                    changed *= likelihood(negative[place:], since)
                    ratio += belief * weight * changed / unchanged
    found = drift(negative, LEARNT)
    assert found is not None
    assert found.evidence == pytest.approx(max(0.0, np.log(ratio)), abs=1e-4)


def test_a_change_is_told_until_most_clips_are_from_after_it() -> None:
    for since in (60, 150, 300):
        found = drift(clips((400, 0.1), (since, 0.5)), LEARNT)
        assert found is not None
        assert found.evidence >= evidence_at(0.01)
        assert abs(found.change - 400) <= 3
    assert not flagged(clips((400, 0.1), (drifts.HISTORY, 0.5)))


def test_simulations_ask_as_the_service_does() -> None:
    negative = clips((30, 0.1), (15, 0.6))
    told = [drift(negative[:n], LEARNT) for n in range(25, 43)]
    [most] = drifting.evidence(negative[None, :], LEARNT, 25, 42)
    assert most == pytest.approx(max(one.evidence for one in told if one))


def test_made_up_recognisers_mishear() -> None:
    random = np.random.default_rng(0)
    for truth in (True, False):
        heard = drifting.as_heard(random, np.full((20, 200), truth))
        assert 0.03 < (heard != truth).mean() < 0.1


def test_rates_and_evidence_are_each_others_inverse() -> None:
    for rate in (1.0, 0.3, 0.1, 0.05, 0.01, 0.002, 0.001, 1e-5):
        assert false_alarm_rate(evidence_at(rate)) == pytest.approx(rate)
    levels = np.linspace(0, 30, 100)
    rates = [false_alarm_rate(level) for level in levels]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1.0, drifts.LEAST_RATE)


@pytest.mark.parametrize(("mean", "concentration"), [(0.1, 5.0), (0.3, 20.0)])
def test_the_baseline_of_a_library_is_learnt(mean: float, concentration: float) -> None:
    random = np.random.default_rng(0)
    heard = random.integers(0, 60, 5000)
    a = mean * concentration
    negative = random.binomial(heard, random.beta(a, concentration - a, 5000))
    learnt = fit_baseline(Sums.of(negative, heard))
    assert learnt.mean == pytest.approx(mean, rel=0.05)
    assert learnt.concentration == pytest.approx(concentration, rel=0.15)


def test_customers_who_are_all_alike_or_few() -> None:
    heard = np.full(1000, 50)
    alike = np.random.default_rng(0).binomial(heard, 0.2)
    assert fit_baseline(Sums.of(alike, heard)).concentration == drifts.CONCENTRATIONS[1]
    assert fit_baseline(Sums.of(alike * 0, heard)).mean < 0.001
    assert fit_baseline(Sums.of(alike[:9], heard[:9])) == drifts.UNKNOWN
    assert fit_baseline(Sums.of(np.ones(1000, int), np.ones(1000, int))) == drifts.UNKNOWN


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_simulated_customers(share: float) -> None:
    """Far from the limits, which scripts/bench_analysis.py measures on many more."""
    random = np.random.default_rng(1)
    level = evidence_at(0.01)
    steady = drifting.customers(random, np.full((300, 100), share))
    assert (drifting.evidence(steady, LEARNT, 1, 100) >= level).mean() <= 0.02
    shares = np.full((200, 260), share)
    shares[:, 200:] += 0.3
    moved = drifting.customers(random, shares)
    assert (drifting.evidence(moved, LEARNT, 201, 260) >= level).mean() >= 0.8
