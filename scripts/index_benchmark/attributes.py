"""Which clips a filter of each selectivity lets through, at random or far from the queries."""

from __future__ import annotations

import dataclasses
from typing import Literal, Self

import numpy as np

from index.contract import Ids, Vectors
from scripts.index_benchmark.dataset import BLOCK

PERCENT = (90.0, 50.0, 10.0, 1.0, 0.1, 0.001)
QUERIES = 100
Kind = Literal["min_confidence", "customer_id", "tag"]
KINDS: tuple[Kind, ...] = ("min_confidence", "customer_id", "tag")


@dataclasses.dataclass(frozen=True, slots=True)
class Attributes:
    """What is said of n clips, so that `min_confidence` and `customer_id` choose at random and
    `tag` chooses the clips least similar to one clip, the anchor.
    """

    confidence_rank: Ids  # (n,), a permutation: how many clips have less confidence
    customer_order: Ids  # (n,), a permutation: customers own stretches of it
    far_order: Ids  # (n,) rows, from the least similar to the anchor to the anchor

    @classmethod
    def of(cls, base: Vectors) -> Self:
        rng = np.random.default_rng(1)
        n, anchor = len(base), np.asarray(base[0])
        blocks = [base[start : start + BLOCK] @ anchor for start in range(0, n, BLOCK)]
        similarity = np.concatenate(blocks)
        return cls(rng.permutation(n), rng.permutation(n), np.argsort(similarity, kind="stable"))

    def rows(self, kind: Kind, percent: float) -> Ids:
        """The rows that the filter lets through, ascending; 90 % has no customer."""
        n = len(self.far_order)
        count = matches(n, percent)
        if kind == "min_confidence":
            return np.flatnonzero(self.confidence_rank >= n - count)
        if kind == "tag":
            return np.sort(self.far_order[:count])
        begin = sum(matches(n, other) for other in PERCENT if percent < other < 90)
        return np.sort(self.customer_order[begin : begin + count])

    def query_rows(self, kind: Kind) -> Ids:
        """(QUERIES,) clips to ask with: at random, or those most similar to the anchor.

        Not the anchor itself: the tags end where its own similarities do, so that thousands of
        clips are as near as the best ten, and it is compared with all.
        """
        if kind == "tag":
            return self.far_order[-QUERIES - 1 : -1]
        return self.confidence_rank[:QUERIES].copy()

    def confidences(self) -> Vectors:
        """(n,) in (0, 1)."""
        return ((self.confidence_rank + 0.5) / len(self.confidence_rank)).astype(np.float64)

    def parameter(self, kind: Kind, percent: float) -> str:
        """The filter as API.md has it."""
        n = len(self.far_order)
        value = (n - matches(n, percent)) / n if kind == "min_confidence" else name(percent)
        return f"{kind}={value}"


def matches(n: int, percent: float) -> int:
    """Clips that `percent` of n are, one at least."""
    return max(1, round(n * percent / 100))


def name(percent: float) -> str:
    """Of the customer that owns, and the tag that is on, so many of the clips."""
    return f"share-{percent:g}"


def offered(kind: Kind) -> list[float]:
    """Selectivities in percent; one clip has one customer, so that these share the clips."""
    return [percent for percent in PERCENT if kind != "customer_id" or percent < 90]
