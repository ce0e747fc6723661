"""Which clusters of a run are those of an earlier one, and what happened to them meanwhile.

Transitions as in MONIC (Spiliopoulou et al. 2006). Where clips are in both runs they decide: a
cluster goes on in the one that most of its clips are in now, or that is mostly made of them. Where
hardly any are, as from one week's clips to the next week's, centres decide: see `_parts`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import fisher_exact

Kind = Literal["born", "grew", "shrank", "split", "merged", "died"]

MOST_OF: Final = 0.5  # share of a cluster's clips that makes it the same, or a part, of another
PART: Final = 0.1  # share of a cluster that a part of it has at least
FEWEST_SHARED: Final = 5  # clips of a cluster in both runs that decide for it
SAME_CENTRE: Final = 0.5  # of the smaller radius: centres of one cluster are nearer than this
MOST_PARTS: Final = 4
CANDIDATES: Final = 8  # nearest centres that parts are looked for among
MOVED: Final = 1.5
BEYOND_CHANCE: Final = 2.0  # times the distance that chance explains
GREW: Final = 1.25  # times as large, at least, that growth is told of; shrinking is the inverse
FALSE_ALARMS: Final = 0.0005  # chance of any false growth or shrinking in one run


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """k clusters of one run.

    `centres` (k, d) and `radii` (k,), root mean square distances of members from them, are on the
    same scales in both runs. `members` (m,) are ids of clips, ascending, all or a sample of them,
    outliers too; `labels` (m,) their clusters, 0 to k - 1, or -1.
    """

    sizes: NDArray[np.int64]  # (k,)
    total: int  # clips, outliers too
    centres: NDArray[np.float32]
    radii: NDArray[np.float64]
    members: NDArray[np.int64]
    labels: NDArray[np.int32]


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """What happened to clusters, by their lasting ids: `before` in the earlier run, `after` in this
    one. Where they changed in size, `ratio` is by how much, beside the others, and `p` the chance
    that a change as large is none."""

    kind: Kind
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    ratio: float | None = None
    p: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Identities:
    """The lasting id of each cluster of this run, and the events, in the order of Kind."""

    ids: tuple[int, ...]
    events: tuple[Event, ...]
    next_id: int  # that no cluster has had yet


def first(new: Snapshot, next_id: int = 1) -> Identities:
    """Of a run that has none before it: nothing happened."""
    count = len(new.sizes)
    return Identities(tuple(range(next_id, next_id + count)), (), next_id + count)


def follow(old: Snapshot, old_ids: Sequence[int], new: Snapshot, next_id: int) -> Identities:
    """Of a run after an earlier one.

    The largest part of a cluster that split keeps its id, a cluster that several merged into has
    the largest one's. A change in size is told where a cluster's clips became more or fewer by
    GREW beside those of the other clusters that went on, and Fisher's exact test of the two and
    the two, with Bonferroni's correction for the number of clusters, gives a chance of at most
    FALSE_ALARMS. It takes clips as independent of each other: those of one call are not.

    Args:
        old_ids: (k,) the lasting ids of the earlier run's clusters.
        next_id: above all ids that were given so far.
    """
    links = _Links(old, new)
    goes_on = links.goes_on()
    splits = links.splits(goes_on)
    goes_on |= {i: max(parts, key=lambda j: (new.sizes[j], -j)) for i, parts in splits.items()}
    merges = links.merges(goes_on, {j for parts in splits.values() for j in parts})
    for j, parts in merges.items():
        goes_on = {i: other for i, other in goes_on.items() if other != j and i not in parts}
        goes_on[max(parts, key=lambda i: (old.sizes[i], -i))] = j
    came_from = {j: i for i, j in goes_on.items()}
    ids = []
    for j in range(len(new.sizes)):
        if j in came_from:
            ids.append(old_ids[came_from[j]])
        else:
            ids.append(next_id)
            next_id += 1
    parts_of_split = {j for parts in splits.values() for j in parts}
    parts_of_merge = {i for parts in merges.values() for i in parts}
    steady = {i: j for i, j in goes_on.items() if i not in splits and j not in merges}
    events = [
        *(
            Event("born", after=(ids[j],))
            for j in range(len(new.sizes))
            if j not in came_from and j not in parts_of_split
        ),
        *_changes_of_size(old, new, steady, old_ids),
        *(
            Event("split", (old_ids[i],), tuple(ids[j] for j in parts))
            for i, parts in sorted(splits.items())
        ),
        *(
            Event("merged", tuple(old_ids[i] for i in parts), (ids[j],))
            for j, parts in sorted(merges.items())
        ),
        *(
            Event("died", before=(old_ids[i],))
            for i in range(len(old.sizes))
            if i not in goes_on and i not in parts_of_merge
        ),
    ]
    return Identities(tuple(ids), tuple(events), next_id)


class _Links:
    """What clips and centres say of clusters i of the old run and j of the new one."""

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        self.old, self.new = old, new
        _, here, there = np.intersect1d(
            old.members, new.members, assume_unique=True, return_indices=True
        )
        before, after = old.labels[here].astype(np.int64), new.labels[there].astype(np.int64)
        shape = len(old.sizes) + 1, len(new.sizes) + 1  # outliers last
        table = np.zeros(shape, np.int64)
        np.add.at(table, (before, after), 1)  # -1 is the last row and column
        of_old, of_new = table[:-1].sum(axis=1), table[:, :-1].sum(axis=0)
        self.shared = table[:-1, :-1]
        self.old_told, self.new_told = of_old >= FEWEST_SHARED, of_new >= FEWEST_SHARED
        self.forward = self.shared / np.maximum(of_old, 1)[:, np.newaxis]  # share of i in j
        self.backward = self.shared / np.maximum(of_new, 1)  # share of j that was in i
        self.distances = np.linalg.norm(
            old.centres[:, np.newaxis].astype(np.float64) - new.centres, axis=2
        )

    def goes_on(self) -> dict[int, int]:
        """One new cluster for an old one, where they are the same."""
        told = self.old_told[:, np.newaxis] & self.new_told
        same = told & ((self.forward >= MOST_OF) | (self.backward >= MOST_OF))
        found = _matched(np.where(same, self.shared, 0))
        near = self.distances <= SAME_CENTRE * np.minimum.outer(self.old.radii, self.new.radii)
        near &= ~(self.old_told[:, np.newaxis] | self.new_told)
        near[list(found)] = False
        near[:, list(found.values())] = False
        return found | _matched(np.where(near, 1.0 / (1.0 + self.distances), 0.0))

    def splits(self, goes_on: dict[int, int]) -> dict[int, tuple[int, ...]]:
        """Parts of old clusters, where there are several."""
        free = set(range(len(self.new.sizes))) - set(goes_on.values())
        found: dict[int, tuple[int, ...]] = {}
        for i in range(len(self.old.sizes)):
            own = free | ({goes_on[i]} if i in goes_on else set())
            if self.old_told[i]:
                parts = [
                    j
                    for j in sorted(own)
                    if self.backward[i, j] >= MOST_OF and self.forward[i, j] >= PART
                ]
            else:
                parts = self._parts(self.old, i, self.new, own, goes_on.get(i), self.distances[i])
            if len(parts) > 1:
                found[i] = tuple(parts)
                free -= set(parts)
        return found

    def merges(self, goes_on: dict[int, int], taken: set[int]) -> dict[int, tuple[int, ...]]:
        """Old clusters that new ones are made of, where there are several."""
        came_from = {j: i for i, j in goes_on.items()}
        free = set(range(len(self.old.sizes))) - set(goes_on)
        found: dict[int, tuple[int, ...]] = {}
        for j in sorted(set(range(len(self.new.sizes))) - taken):
            own = free | ({came_from[j]} if j in came_from else set())
            if self.new_told[j]:
                parts = [
                    i
                    for i in sorted(own)
                    if self.forward[i, j] >= MOST_OF and self.backward[i, j] >= PART
                ]
            else:
                column = self.distances[:, j]
                parts = self._parts(self.new, j, self.old, own, came_from.get(j), column)
            if len(parts) > 1:
                found[j] = tuple(parts)
                free -= set(parts)
        return found

    @staticmethod
    def _parts(
        wholes: Snapshot,
        whole: int,
        pieces: Snapshot,
        own: set[int],
        same: int | None,
        distances: NDArray[np.float64],
    ) -> list[int]:
        """Clusters of one run that a cluster of the other one is the union of, by centres.

        The mean of the parts' centres, weighted by size, is then the whole's, but for chance, and
        no single part's centre is: what is merely near it would draw the mean away. A part
        with a share p of the whole lies at most radius · √((1 - p) / p) from its centre, times
        MOVED, because parts move as they part.
        """
        centre, radius = wholes.centres[whole].astype(np.float64), float(wholes.radii[whole])
        nearest = sorted(own, key=lambda piece: (distances[piece], piece))[:CANDIDATES]
        if same is not None and same not in nearest:
            nearest[-1] = same
        best, least = [], np.inf
        for count in range(2, MOST_PARTS + 1):
            for group in itertools.combinations(sorted(nearest), count):
                if same is not None and same not in group:
                    continue
                sizes = pieces.sizes[list(group)].astype(np.float64)
                shares = sizes / sizes.sum()
                bounds = radius * np.sqrt((1 - shares) / shares)
                far = distances[list(group)]
                chance = radius * math.sqrt(1 / sizes.sum() + 1 / wholes.sizes[whole])
                off = float(np.linalg.norm(shares @ pieces.centres[list(group)] - centre))
                if (
                    shares.min() >= PART
                    and (far <= BEYOND_CHANCE * chance + MOVED * bounds).all()
                    and far.min() > BEYOND_CHANCE * chance
                    and off <= min(least, SAME_CENTRE * far.min())
                ):
                    best, least = list(group), off
            if best:
                break
        return best


def _matched(weights: NDArray[np.floating]) -> dict[int, int]:
    """Pairs of rows and columns with the greatest sum of weights, those of weight 0 left out."""
    rows, columns = linear_sum_assignment(weights, maximize=True)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if weights[i, j] > 0}


def _changes_of_size(
    old: Snapshot, new: Snapshot, steady: dict[int, int], old_ids: Sequence[int]
) -> list[Event]:
    """The least likely change first: it is no measure for the others."""
    events: list[Event] = []
    left = dict(steady)
    while left:
        p, _, ratio, i = min(_change(old, new, left, i) for i in left)
        p = min(1.0, p * len(steady))
        if p > FALSE_ALARMS or 1 / GREW < ratio < GREW:
            break
        kind: Kind = "grew" if ratio > 1 else "shrank"
        events.append(Event(kind, (old_ids[i],), (old_ids[i],), ratio, p))
        del left[i]
    return sorted(events, key=lambda event: (event.kind, event.before))


def _change(
    old: Snapshot, new: Snapshot, steady: dict[int, int], own: int
) -> tuple[float, float, float, int]:
    """Of one cluster's clips beside those of the others that went on (and outliers, where there are
    fewer than two others): p; of equal ones the greater change in number first; the ratio."""
    before, after = int(old.sizes[own]), int(new.sizes[steady[own]])
    others = [(i, j) for i, j in steady.items() if i != own]
    rest_before = int(sum(old.sizes[i] for i, _ in others))
    rest_after = int(sum(new.sizes[j] for _, j in others))
    if len(others) < 2:
        rest_before += old.total - int(old.sizes.sum())
        rest_after += new.total - int(new.sizes.sum())
    if not rest_before or not rest_after:
        return 1.0, 0.0, 1.0, own
    p = float(fisher_exact([[before, after], [rest_before, rest_after]]).pvalue)
    ratio = after / before / (rest_after / rest_before)
    return p, -abs(math.log(after / before)), ratio, own
