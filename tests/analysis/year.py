"""A year of weeks of clips in groups, with known events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import NONE
from app.analysis.identity import Snapshot, first, follow
from app.analysis.profiles import centres

WEEKS: Final = 52
SEEDS: Final = range(8)
WIDTH: Final = 16  # dimensions
MEAN: Final = 150  # clips of a group in a week

# By week: what is told then, of groups by name.
STORY: Final = {
    7: [("born", (), ("delivery",))],
    14: [("grew", ("billing",), ("billing",))],
    21: [("split", ("outage",), ("outage", "outage, router"))],
    30: [("shrank", ("billing",), ("billing",))],
    36: [("merged", ("delivery", "praise"), ("praise",))],
    44: [("died", ("advert",), ())],
}


class Group(NamedTuple):
    """Clips of a group in one week."""

    place: NDArray[np.float64]
    clips: float  # expected
    spread: NDArray[np.float64]  # they lie evenly between place ± this, with noise


class Year:
    """Each week's number of clips is drawn anew, and the whole is up and down by a fifth."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        axes = np.linalg.qr(self._random.standard_normal((WIDTH, WIDTH)))[0]
        self._places = dict(
            zip(("billing", "outage", "praise", "advert", "greeting"), axes * 12, strict=False)
        )
        self._long, self._wide = axes[-1] * 6, axes[-2] * 6
        self._none = np.zeros(WIDTH)

    def week(self, number: int) -> dict[str, Group]:
        groups = {name: Group(at, MEAN, self._none) for name, at in self._places.items()}
        if 14 <= number < 30:
            groups["billing"] = groups["billing"]._replace(clips=2.2 * MEAN)
        if number < 21:
            groups["outage"] = groups["outage"]._replace(spread=self._long)
        else:
            at = groups["outage"].place
            groups["outage"] = Group(at - 0.8 * self._long, 0.6 * MEAN, self._none)
            groups["outage, router"] = Group(at + 1.2 * self._long, 0.4 * MEAN, self._none)
        at = groups["praise"].place
        if number < 36:
            groups["praise"] = Group(at - self._wide, 1.2 * MEAN, self._none)
        else:
            groups["praise"] = Group(at, 2.2 * MEAN, self._wide)
        if 7 <= number < 36:
            groups["delivery"] = Group(at + 1.2 * self._wide, MEAN, self._none)
        if number >= 44:
            del groups["advert"]
        return groups

    def told(
        self, group: Callable[[NDArray[np.float32], NDArray[np.int32]], NDArray[np.int32]]
    ) -> dict[int, list[tuple[str, tuple[str, ...], tuple[str, ...]]]]:
        """Events by week, clusters by the name of the group that most of their clips are of."""
        story: dict[int, list[tuple[str, tuple[str, ...], tuple[str, ...]]]] = {}
        names: dict[int, str] = {}  # by lasting id
        before: Snapshot | None = None
        ids: tuple[int, ...] = ()
        next_id, next_clip = 1, 1
        for number in range(WEEKS):
            busy = self._random.uniform(0.8, 1.2)
            clips, meant = [], []
            for name, one in self.week(number).items():
                some = self._random.poisson(one.clips * busy)
                along = self._random.uniform(-1, 1, (some, 1)) * one.spread
                clips.append(one.place + along + self._random.standard_normal((some, WIDTH)))
                meant += [name] * some
            features = np.vstack(clips).astype(np.float32)
            codes = {name: code for code, name in enumerate(dict.fromkeys(meant))}
            labels = group(features, np.array([codes[name] for name in meant], np.int32))
            after = _snapshot(features, labels, next_clip)
            next_clip += len(features)
            found = first(after) if before is None else follow(before, ids, after, next_id)
            for cluster, lasting in enumerate(found.ids):
                own = [meant[row] for row in np.flatnonzero(labels == cluster)]
                names.setdefault(lasting, max(set(own), key=own.count))
            if found.events:
                story[number] = [
                    (
                        event.kind,
                        tuple(sorted(names[id] for id in event.before)),
                        tuple(sorted(names[id] for id in event.after)),
                    )
                    for event in found.events
                ]
            before, ids, next_id = after, found.ids, found.next_id
        return story


def _snapshot(features: NDArray[np.float32], labels: NDArray[np.int32], start: int) -> Snapshot:
    middle = centres(features, labels)
    radii = [
        np.sqrt(np.square(features[labels == c] - middle[c]).sum(axis=1).mean())
        for c in range(len(middle))
    ]
    return Snapshot(
        np.bincount(labels[labels != NONE], minlength=len(middle)),
        len(labels),
        middle,
        np.array(radii, np.float64),
        np.arange(start, start + len(labels)),
        labels,
    )
