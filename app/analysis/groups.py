"""Which clips belong together, given pairs that do and pairs that must not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ids = NDArray[np.int64]


def as_pairs(pairs: Iterable[tuple[int, ...]]) -> Ids:
    """(n, 2) of n pairs of ids."""
    return np.array(list(pairs), np.int64).reshape(-1, 2)


def groups(linked: Ids, apart: Ids) -> list[Ids]:
    """Sets of two clips or more that links hold together, each ascending, by their first clip.

    Links are taken in the order given, the surest first; one that would bring two clips of a
    pair that is to stay apart into one group is left out (constrained single linkage). A pair
    that is both keeps apart.

    Args:
        linked: (n, 2) ids.
        apart: (m, 2) ids.
    """
    if not len(linked):
        return []
    ids, ends = np.unique(linked, return_inverse=True)
    ends = ends.reshape(linked.shape)
    labels = _components(ends, len(ids))
    barred = _places(ids, apart)
    barred = barred[labels[barred[:, 0]] == labels[barred[:, 1]]]
    if len(barred):
        kept = np.ones(len(ends), np.bool_)
        for label in np.unique(labels[barred[:, 0]]):
            within = np.flatnonzero(labels[ends[:, 0]] == label)
            kept[within] = _allowed(ends[within], barred[labels[barred[:, 0]] == label])
        labels = _components(ends[kept], len(ids))
    order = np.lexsort((ids, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    found = [part for part in np.split(ids[order], starts[1:]) if len(part) > 1]
    return sorted(found, key=lambda part: int(part[0]))


def holding(groups: Sequence[Ids], pairs: Ids) -> list[Ids]:
    """Those of the groups that have both clips of one of the pairs (n, 2)."""
    if not groups:
        return []
    ids = np.concatenate(groups)
    numbers = np.repeat(np.arange(len(groups)), [len(its) for its in groups])
    order = np.argsort(ids)
    places = _places(ids[order], pairs)
    low, high = numbers[order][places].T
    return [groups[number] for number in np.unique(low[low == high])]


def _places(ids: Ids, pairs: Ids) -> Ids:
    """(m', 2) positions in `ids` of the pairs that have both of their clips there."""
    pairs = pairs.reshape(-1, 2)
    at = np.searchsorted(ids, pairs).clip(max=len(ids) - 1)
    places: Ids = at[(ids[at] == pairs).all(axis=1)]
    return places


def _components(ends: Ids, count: int) -> NDArray[np.int32]:
    """(count,) the number of the component that each place is in."""
    ones = np.ones(len(ends), np.bool_)
    _, labels = connected_components(
        coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(count, count)), directed=False
    )
    found: NDArray[np.int32] = labels
    return found


def _allowed(ends: Ids, apart: Ids) -> NDArray[np.bool_]:
    """(n,) which links hold when each is made unless it joins a pair that is to stay apart."""
    group = {place: {place} for place in ends.ravel().tolist()}
    foes: dict[int, set[int]] = {place: set() for place in group}
    for one, other in apart.tolist():
        foes[one].add(other)
        foes[other].add(one)
    # A group's set and its foes' are shared by its members.
    foes_of = {place: set(its) for place, its in foes.items()}
    made = np.zeros(len(ends), np.bool_)
    for number, (one, other) in enumerate(ends.tolist()):
        mine, others = group[one], group[other]
        if mine is others:
            made[number] = one != other
            continue
        if not foes_of[one].isdisjoint(others):
            continue
        if len(mine) < len(others):
            one, other, mine, others = other, one, others, mine
        mine |= others
        foes_of[one] |= foes_of[other]
        for place in others:
            group[place], foes_of[place] = mine, foes_of[one]
        made[number] = True
    return made
