"""Has a customer's share of negative clips changed? A sequential test with known false alarms.

The test is Shiryaev's and Roberts': the sum, over every place where the change may have been, of
how much likelier the clips are with a change there than without any. Neither share is known, so
each likelihood is a mean over shares (a mixture, as M. Pollak, "Optimal detection of a change in
distribution", Annals of Statistics 13, 1985). The share before a change is expected to be as the
library's customers are, a beta distribution fitted to them (empirical Bayes), so that a customer
with few clips is not judged by those alone.

How often it is high by chance was found by simulation: `python -m scripts.calibrate_drift`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

HISTORY: Final = 1000  # latest clips that are looked at
WINDOW: Final = 60  # latest clips among which a change is looked for
FEWEST_BEFORE: Final = 10  # clips before a change
FEWEST_SINCE: Final = 5  # clips after it
FEWEST: Final = 20  # clips in all

SHARES: Final = np.linspace(0.01, 0.99, 50)
SHIFT: Final = 0.3  # of the share, that is looked for; others are found by it, too
RISE: Final = 0.9  # of the prior is on a rise, which is what one wants to hear of
ANYTHING: Final = 0.7  # of the prior is on any share, equally: a library has odd customers
NEGLIGIBLE: Final = 1e-6  # of the largest prior weight

# Share of customers without a change whose evidence reaches so much within 100 clips, of the least
# favourable hundred of the least favourable customers and libraries that were tried.
CALIBRATION: Final = (
    (0.1, 6.81),
    (0.03, 7.97),
    (0.01, 9.08),
    (0.003, 10.21),
    (0.001, 11.19),
)
LEAST_RATE: Final = 1e-6  # that is told


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """How the share of negative clips varies from customer to customer: a beta distribution with
    parameters mean × concentration and (1 − mean) × concentration."""

    mean: float
    concentration: float  # in clips: how many of one's own weigh as much

    def share(self, negative: int, heard: int) -> float:
        """Of a customer with so many negative clips of those heard, drawn to the mean."""
        return (negative + self.mean * self.concentration) / (heard + self.concentration)


UNKNOWN: Final = Baseline(0.2, 5.0)  # before there are customers to learn from
CONCENTRATIONS: Final = (2.0, 100.0)  # outside, too few clips speak, or too many are not believed
FEWEST_PEOPLE: Final = 10  # with two clips or more each


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """What the latest clips of one customer say; `clips_before` + `clips_since` were looked at.

    `change` is the likeliest place of a change, whether or not there was one: the first clip after
    it, as an index into the clips that were given. It may be before the latest WINDOW clips, which
    differ for as long as most of the HISTORY is from before the change.
    """

    evidence: float  # ln of the Shiryaev-Roberts sum, at least 0
    false_alarm_rate: float  # of customers without a change that reach this within 100 clips
    before: float  # share of negative clips before the change, drawn to the baseline's mean
    since: float  # share of negative clips after it
    clips_before: int
    clips_since: int
    change: int

    @property
    def shift(self) -> float:
        return self.since - self.before


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """Of customers with two clips or more, n of them heard and s of those negative each."""

    people: int
    heard: float  # Σ n
    heard_squared: float  # Σ n²
    negative: float  # Σ s
    negative_squared: float  # Σ s² / n

    @classmethod
    def of(cls, negative: NDArray[np.int64], heard: NDArray[np.int64]) -> Sums:
        """Both (customers,)."""
        some = heard >= 2
        n, s = heard[some].astype(float), negative[some].astype(float)
        return cls(int(some.sum()), n.sum(), (n * n).sum(), s.sum(), (s * s / n).sum())


def fit_baseline(sums: Sums) -> Baseline:
    """The baseline of a library; UNKNOWN where it has fewer than FEWEST_PEOPLE such customers.

    The concentration is by the analysis-of-variance estimator of the intraclass correlation
    (M. S. Ridout, C. G. B. Demétrio, D. Firth, "Estimating intraclass correlation for binary
    data", Biometrics 55, 1999), kept within CONCENTRATIONS.
    """
    if sums.people < FEWEST_PEOPLE:
        return UNKNOWN
    known = UNKNOWN.mean * UNKNOWN.concentration
    mean = (sums.negative + known) / (sums.heard + UNKNOWN.concentration)
    overall = sums.negative_squared - sums.negative**2 / sums.heard
    between = overall / (sums.people - 1)
    within = (sums.negative - sums.negative_squared) / (sums.heard - sums.people)
    each = (sums.heard - sums.heard_squared / sums.heard) / (sums.people - 1)
    total = between + (each - 1) * within
    correlation = (between - within) / total if total > 0 else 0.0
    low, high = CONCENTRATIONS
    concentration = 1 / correlation - 1 if correlation > 0 else high
    return Baseline(float(mean), float(min(high, max(low, concentration))))


def drift(negative: NDArray[np.bool_], baseline: Baseline) -> Drift | None:
    """What (n,) clips of a customer, in order of time, say of a change; the last HISTORY count.

    Returns:
        None where there are fewer than FEWEST clips.
    """
    skipped = max(0, len(negative) - HISTORY)
    clips = len(negative) - skipped
    if clips < FEWEST:
        return None
    counts = np.concatenate([[0], np.cumsum(negative[skipped:])])[None, :]
    evidence = float(add_up(*log_ratios(counts, clips, baseline))[0])
    ratios = np.concatenate(log_ratios(counts, clips, baseline, window=clips))
    place = int(change_places(clips, window=clips)[ratios.max(axis=0).argmax()])
    so_far, in_all = int(counts[0, place]), int(counts[0, clips])
    return Drift(
        evidence=max(0.0, evidence),
        false_alarm_rate=false_alarm_rate(evidence),
        before=baseline.share(so_far, place),
        since=(in_all - so_far) / (clips - place),
        clips_before=place,
        clips_since=clips - place,
        change=skipped + place,
    )


def false_alarm_rate(evidence: float) -> float:
    """Share of customers without a change whose evidence reaches this within 100 clips."""
    rates, levels = np.log([rate for rate, _ in CALIBRATION]), [at for _, at in CALIBRATION]
    if evidence <= levels[0]:
        rate = rates[0] + (levels[0] - evidence)
    elif evidence >= levels[-1]:  # the sum exceeds A at a rate that falls as 1 / A
        rate = rates[-1] - (evidence - levels[-1])
    else:
        rate = np.interp(evidence, levels, rates)
    return float(min(1.0, max(LEAST_RATE, np.exp(rate))))


def evidence_at(rate: float) -> float:
    """The evidence that customers without a change reach at this rate, from LEAST_RATE to 1."""
    rates, levels = [np.log(rate) for rate, _ in CALIBRATION], [at for _, at in CALIBRATION]
    wanted = np.log(rate)
    if wanted >= rates[0]:
        return float(levels[0] - (wanted - rates[0]))
    if wanted <= rates[-1]:
        return float(levels[-1] + (rates[-1] - wanted))
    return float(np.interp(-wanted, -np.array(rates), levels))


def change_places(clips: int, window: int = WINDOW) -> NDArray[np.int64]:
    """(k,) places of a possible change: numbers of clips before it."""
    return np.arange(max(FEWEST_BEFORE, clips - window), clips - FEWEST_SINCE + 1)


def log_ratios(
    counts: NDArray[np.int64], clips: int, baseline: Baseline, window: int = WINDOW
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much likelier the clips are with a change at each place than without, and its prior.

    Args:
        counts: (m, ≥ clips + 1), of m customers: negative clips among their first 0, 1, 2, ….

    Returns:
        Natural logarithms (m, k), k as `change_places`, of a rise and of a fall of the share.
    """
    places = change_places(clips, window)
    return log_ratio(counts[:, places], counts[:, clips, None], places, clips, baseline)


def log_ratio(
    before: NDArray[np.int64],
    total: NDArray[np.int64],
    place: NDArray[np.int64],
    clips: int,
    baseline: Baseline,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `log_ratios`, of any that broadcast together: numbers of negative clips before the place
    and in all, and of clips before the place."""
    negative = total[..., None].astype(float)
    alone = negative * np.log(SHARES) + (clips - negative) * np.log1p(-SHARES)
    unchanged = _log_mean_exp(alone, np.log(_prior(baseline)))
    facts = np.stack(np.broadcast_arrays(before, total, place), axis=-1).astype(float)
    found = []
    for sign, belief in ((1.0, RISE), (-1.0, 1 - RISE)):
        p0, p1, weight = _changes(baseline, sign)
        # The logarithm of p0^s (1-p0)^(k-s) p1^(t-s) (1-p1)^(n-k-t+s), linear in s, t, k, n.
        terms = np.stack([_logit(p0) - _logit(p1), _logit(p1), np.log1p(-p0) - np.log1p(-p1)])
        changed = facts @ terms + clips * np.log1p(-p1)
        found.append(_log_mean_exp(changed, np.log(weight * belief)) - unchanged)
    return found[0], found[1]


def add_up(rise: NDArray[np.float64], fall: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) the logarithm of the Shiryaev-Roberts sum over places and directions."""
    both = np.concatenate([rise, fall], axis=1)
    return _log_mean_exp(both, np.zeros(both.shape[1]))


@functools.lru_cache(maxsize=8)
def _prior(baseline: Baseline) -> NDArray[np.float64]:
    """(s,) of SHARES, before a change."""
    a = baseline.mean * baseline.concentration
    b = baseline.concentration - a
    log = (a - 1) * np.log(SHARES) + (b - 1) * np.log1p(-SHARES)
    beta = np.exp(log - log.max())
    prior: NDArray[np.float64] = (1 - ANYTHING) * beta / beta.sum() + ANYTHING / len(SHARES)
    return prior


@functools.lru_cache(maxsize=16)
def _changes(
    baseline: Baseline, sign: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(c,) each: a share before, one after, and the prior weight of the two."""
    before, after, weight = SHARES, SHARES + sign * SHIFT, _prior(baseline)
    kept = (after > 0.005) & (after < 0.995) & (weight > NEGLIGIBLE * weight.max())
    return before[kept], after[kept], weight[kept]


def _logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = np.log(share) - np.log1p(-share)
    return odds


def _log_mean_exp(
    logs: NDArray[np.float64], log_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ln Σ weight × e^log over the last axis, whatever their size."""
    weighted = logs + log_weights
    top = weighted.max(axis=-1, keepdims=True)
    np.exp(weighted - top, out=weighted)
    summed: NDArray[np.float64] = np.log(weighted.sum(axis=-1)) + top[..., 0]
    return summed
