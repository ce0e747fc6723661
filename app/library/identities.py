"""Runs compared with earlier ones: whose clusters are whose, and how the map lies."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import NONE
from app.analysis.grouping import Grouping
from app.store import Store, cluster_runs
from app.store.cluster_runs import Run

FEWEST_COMMON = 10  # clips on both maps that tell how the new one is turned

Ids = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Identified:
    """Lasting ids of a run's clusters, and what happened since the run before it."""

    ids: tuple[int, ...]
    events: list[dict[str, Any]] | None  # None: there was no run before
    next_id: int
    message: str | None = None


def identified(store: Store, run: Run, grouping: Grouping, ids: Ids) -> Identified:
    """Compare a grouping of clips (n,) with the run that it shall be compared with."""
    from app.analysis import identity  # SciPy's statistics take a second to load

    new = identity.Snapshot(
        sizes=np.array([one.size for one in grouping.profiles], np.int64),
        total=len(ids),
        centres=grouping.centres * grouping.scales,
        radii=np.array([one.radius for one in grouping.profiles]),
        members=ids,
        labels=grouping.labels,
    )
    with store.read() as session:
        before = None if run.previous is None else cluster_runs.get(session, run.previous)
        if before is None or before.summary is None:
            told = identity.first(new)
            gone = None
            if run.previous is not None:
                gone = f"Run {run.previous}, which it was to be compared with, was deleted."
            return Identified(told.ids, None, told.next_id, gone)
        clusters = cluster_runs.clusters_of(session, before.id)
        members, labels = cluster_runs.all_members(session, before.id)
    dimension = len(grouping.scales)
    old = identity.Snapshot(
        sizes=np.array([one.profile["size"] for one in clusters], np.int64),
        total=len(members),
        centres=np.array([one.centre for one in clusters]).reshape(-1, dimension) * grouping.scales,
        radii=np.array([one.profile["radius"] for one in clusters]),
        members=members,
        labels=labels,
    )
    lasting = [one.lasting_id for one in clusters]
    told = identity.follow(old, lasting, new, before.summary["next_lasting_id"])
    return Identified(told.ids, [dataclasses.asdict(event) for event in told.events], told.next_id)


def turned_map(
    store: Store, run: Run, grouping: Grouping, ids: Ids, found: Identified
) -> NDArray[np.float32]:
    """The map's coordinates (m, 2), turned as the map of the run before lies: by the clips on both,
    or by the clusters that went on where there are hardly any."""
    from app.analysis.alignment import turned

    if run.previous is None or found.events is None:
        return grouping.map_xy
    with store.read() as session:
        before = cluster_runs.points(session, run.previous)
        lasting = {
            one.number: one.lasting_id for one in cluster_runs.clusters_of(session, run.previous)
        }
    rows = grouping.map_rows
    _, here, there = np.intersect1d(ids[rows], before.ids, assume_unique=True, return_indices=True)
    if len(here) >= FEWEST_COMMON:
        return turned(grouping.map_xy, grouping.map_xy[here], before.places[there])
    now = _middles(grouping.map_xy, grouping.labels[rows], dict(enumerate(found.ids)))
    then = _middles(before.places, before.clusters, lasting)
    both = sorted(now.keys() & then.keys())
    return turned(
        grouping.map_xy,
        np.array([now[id] for id in both]).reshape(-1, 2),
        np.array([then[id] for id in both]).reshape(-1, 2),
    )


def _middles(
    places: NDArray[np.float32], clusters: NDArray[np.int32], lasting: dict[int, int]
) -> dict[int, NDArray[np.float32]]:
    """Where each cluster lies on a map, by its lasting id."""
    return {
        lasting[number]: places[clusters == number].mean(axis=0)
        for number in np.unique(clusters[clusters != NONE]).tolist()
    }
