"""What a report says, put together when it is read: a clip that is deleted is out of it at once."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np

from app.analysis.ranking import NEGATIVE, growth, negativity, priority, rise
from app.domain import LABELS
from app.library.clusterings import Clusterings
from app.library.filter_json import from_json
from app.library.report_summary import summary
from app.store import Store, clips, cluster_runs, reports
from app.store.cluster_runs import Run, StoredCluster
from app.store.reports import Report

MAP_POINTS = 2000  # of the map that a report draws
HISTORY = 52  # reports of the same schedule before it


def figures(store: Store, report: Report, run: Run | None) -> dict[str, Any]:
    """Numbers without persons, kept with the report: what later ones compare with."""
    wanted = from_json(report.filters)
    with store.read() as session:
        counted = dict(clips.facet(session, "emotion", wanted, len(LABELS) + 1))
        found = [] if run is None else cluster_runs.clusters_of(session, run.id)
    days = None
    if wanted.since is not None and wanted.until is not None:
        days = (wanted.until - wanted.since) / dt.timedelta(days=1)
    return {
        "clips": sum(counted.values()),
        "days": days,
        "emotions": {label: counted[label] for label in LABELS if counted.get(label)},
        "clusters": {str(one.lasting_id): one.profile["size"] for one in found},
    }


def content(store: Store, clusterings: Clusterings, report: Report) -> dict[str, Any]:
    """Of a report that is done."""
    assert report.figures is not None
    with store.read() as session:
        before = None if report.previous is None else reports.get(session, report.previous)
        earlier = (
            []
            if report.schedule_id is None
            else reports.page(session, HISTORY, report.id, report.schedule_id)
        )
        run = None if report.cluster_run is None else cluster_runs.get(session, report.cluster_run)
    found = [] if run is None else clusterings.clusters(run.id)
    compared = None if before is None else before.figures
    told = [_cluster(one, report.figures, compared) for one in found]
    told.sort(key=lambda one: (-one["priority"], one["lasting_id"]))
    whole: dict[str, Any] = {
        "outliers": None,
        "silhouette": None,
        "events": None,
    }
    if run is not None and run.summary is not None:
        whole = {name: run.summary[name] for name in whole}
    said = {
        "id": report.id,
        "name": report.name,
        "created": report.created.isoformat(),
        "schedule_id": report.schedule_id,
        "slot": None if report.slot is None else report.slot.isoformat(),
        "since": report.filters.get("since"),
        "until": report.filters.get("until"),
        "filters": report.filters,
        "model": None if run is None else dataclasses.asdict(run.model),
        "cluster_run": report.cluster_run,
        "previous": None if before is None else before.id,
        "message": report.message,
        "clips": report.figures["clips"],
        "emotions": report.figures["emotions"],
        "negative_emotions": list(NEGATIVE),
        "negativity": negativity(report.figures["emotions"]),
        "before": None if compared is None else _period(compared),
        **whole,
        "clusters": told,
        "history": [
            {"id": one.id, "slot": one.slot and one.slot.isoformat()} | _period(one.figures)
            for one in reversed(earlier)
            if one.figures is not None
        ],
        "map": _map(clusterings, run),
    }
    return said | {"summary": summary(said)}


def _period(figures: dict[str, Any]) -> dict[str, Any]:
    return {"clips": figures["clips"], "negativity": negativity(figures["emotions"])}


def _cluster(
    one: StoredCluster, now: dict[str, Any], before: dict[str, Any] | None
) -> dict[str, Any]:
    profile = one.profile
    negative = negativity(profile["emotions"]) if profile["emotions_known"] else None
    size_before = None if before is None else before["clusters"].get(str(one.lasting_id), 0)
    if before is None or size_before is None:
        trend = rise(profile["trend"]["clips"], profile["trend"]["slope"])
    else:
        trend = growth(profile["size"], size_before, now["days"], before["days"])
    return {
        "lasting_id": one.lasting_id,
        "cluster": one.number,
        "name": one.name,
        "size": profile["size"],
        "size_before": size_before,
        "share": profile["share"],
        "emotions": profile["emotions"],
        "dominant_emotion": profile["dominant_emotion"],
        "mean_confidence": profile["mean_confidence"],
        "cohesion": profile["cohesion"],
        "negativity": negative,
        "trend": trend,
        "priority": priority(profile["share"], negative, trend),
        "first_week": profile["trend"]["first_week"],
        "weeks": profile["trend"]["clips"],
        "exemplars": profile["exemplars"],
        "customers": profile["customers"],
        "agents": profile["agents"],
    }


def _map(clusterings: Clusterings, run: Run | None) -> dict[str, Any]:
    """Some clips of the run's map, spread evenly over their ids."""
    drawn: dict[str, Any] = {"clip_ids": [], "x": [], "y": [], "clusters": [], "emotions": []}
    if run is None or run.summary is None:
        return drawn
    points = clusterings.some_points(run.id, MAP_POINTS)
    lasting = {one.number: one.lasting_id for one in clusterings.clusters(run.id)}
    places = np.round(points.places.astype(np.float64), 4)
    return {
        "clip_ids": points.ids.tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "clusters": [lasting.get(number) for number in points.clusters.tolist()],
        "emotions": [None if code < 0 else LABELS[code] for code in points.emotions.tolist()],
    }
