"""One grouping: clips read from the store, a process that groups them, what it finds written."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import NONE, Facts
from app.analysis.grouping import SAMPLE, Asked, Grouping, TooFew, chosen_rows
from app.analysis.process import GroupingProcess, WorkerEnded
from app.analysis.profiles import Leader, Profile
from app.domain import LABELS
from app.library.filter_json import from_json
from app.library.identities import Identified, identified, turned_map
from app.store import Store, cluster_runs, clusterable
from app.store.cluster_runs import BLOCK, ROWS, Points, Run, StoredCluster
from app.store.clusterable import Clusterable
from app.store.embeddings import CHUNK
from app.store.filterable import microseconds

log = logging.getLogger(__name__)

Ids = NDArray[np.int64]
_Block = TypeVar("_Block")


class Stopped(Exception):
    """The run was deleted, or the service stops."""


class GroupingRun:
    """`do` does it once; another thread may `stop` it."""

    def __init__(self, store: Store, run: Run) -> None:
        self.run = run
        self.step, self.done, self.total = "reading", 0, 0
        self._store = store
        self._stopping = threading.Event()
        self._process: GroupingProcess | None = None
        self._people: dict[str, dict[str | None, int]] = {"customers": {}, "agents": {}}

    def stop(self) -> None:
        """`do` raises Stopped soon."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    def do(self) -> None:
        """From reading to the note that it is done.

        Raises:
            Stopped
            TooFew: clips match.
            WorkerEnded: the process did, by itself.
            Unavailable: the database does not answer.
        """
        started = time.monotonic()
        try:
            ids, emotions, grouping = self._grouped()
        except WorkerEnded:
            self._check()
            raise
        self.step = "writing"
        found = identified(self._store, self.run, grouping, ids)
        xy = turned_map(self._store, self.run, grouping, ids, found)
        self._write_members(ids, grouping.labels)
        rows = grouping.map_rows
        self._write_points(Points(ids[rows], grouping.labels[rows], emotions[rows], xy))
        self._finish(ids, grouping, found, time.monotonic() - started)

    def _grouped(self) -> tuple[Ids, NDArray[np.int8], Grouping]:
        """Ids (n,) of the clips that were grouped, their emotions (n,), and how."""
        asked = Asked(
            self.run.algorithm,  # type: ignore[arg-type]  # the column holds only these
            self.run.n_clusters,
            self.run.seed,
            microseconds(self.run.created),
            self._clusters_before(),
        )
        with self._store.read() as session:
            ids = clusterable.ids(session, self.run.model_row, from_json(self.run.filters))
        if len(ids) < asked.fewest:
            raise TooFew(len(ids), asked.fewest)
        self.total = len(ids)
        sample = list(self._pages(ids[chosen_rows(len(ids), SAMPLE, self.run.seed)]))
        if not sample:
            raise TooFew(0, asked.fewest)
        vectors = np.concatenate([page.vectors for page in sample])
        scores = np.concatenate([page.scores for page in sample])
        del sample
        grouped, emotions = [], []
        with GroupingProcess(asked, vectors, scores) as process:
            self._process = process
            del vectors, scores
            for page in self._pages(ids):
                process.add(page.vectors, self._facts(page))
                grouped.append(page.ids)
                emotions.append(page.emotions)
                self.done += len(page.ids)
            for step in process.steps():
                self._check()
                if isinstance(step, Grouping):
                    return np.concatenate(grouped), np.concatenate(emotions), step
                self.step = step
        raise AssertionError("steps end with the grouping")

    def _clusters_before(self) -> int | None:
        """Of the run that this one is compared with, if it is by k-means too."""
        if self.run.previous is None or self.run.algorithm != "kmeans":
            return None
        with self._store.read() as session:
            before = cluster_runs.get(session, self.run.previous)
        if before is None or before.summary is None or before.algorithm != "kmeans":
            return None
        clusters: int = before.summary["parameters"]["n_clusters"]
        return clusters

    def _pages(self, ids: Ids) -> Iterator[Clusterable]:
        """The clips that are left of them. What is not finite cannot be compared."""
        for start in range(0, len(ids), CHUNK):
            self._check()
            with self._store.read() as session:
                page = clusterable.page(session, self.run.model_row, ids[start : start + CHUNK])
            if page is not None:
                finite = np.isfinite(page.vectors).all(axis=1)
                yield page if finite.all() else page.at(np.flatnonzero(finite))

    def _facts(self, page: Clusterable) -> Facts:
        numbers = {
            kind: np.array([self._number(kind, name) for name in names], np.int32)
            for kind, names in (("customers", page.customers), ("agents", page.agents))
        }
        heard = (page.scores, page.emotions, page.confidences, page.instants)
        return Facts(*heard, numbers["customers"], numbers["agents"])

    def _number(self, kind: str, name: str | None) -> int:
        known = self._people[kind]
        return NONE if name is None else known.setdefault(name, len(known))

    def _write_members(self, ids: Ids, labels: NDArray[np.int32]) -> None:
        order = np.argsort(labels, kind="stable")  # ids rise within each cluster
        starts = np.searchsorted(labels[order], np.arange(NONE, int(labels.max(initial=NONE)) + 2))

        def blocks() -> Iterator[tuple[int, Ids]]:
            for number, (start, end) in enumerate(itertools.pairwise(starts)):
                for first in range(int(start), int(end), BLOCK):
                    yield number + NONE, ids[order[first : min(first + BLOCK, int(end))]]

        for some in _in_groups(blocks(), ROWS):
            self._check()
            with self._store.write() as session:
                if not cluster_runs.add_members(session, self.run.id, some):
                    raise Stopped

    def _write_points(self, points: Points) -> None:
        def blocks() -> Iterator[Points]:
            for start in range(0, len(points.ids), BLOCK):
                part = slice(start, start + BLOCK)
                yield points.at(part)

        for some in _in_groups(blocks(), ROWS):
            self._check()
            with self._store.write() as session:
                if not cluster_runs.add_points(session, self.run.id, some):
                    raise Stopped

    def _finish(self, ids: Ids, grouping: Grouping, found: Identified, seconds: float) -> None:
        clusters = [
            StoredCluster(
                number,
                found.ids[number],
                grouping.names[number],
                self._told(profile, ids),
                grouping.centres[number],
            )
            for number, profile in enumerate(grouping.profiles)
        ]
        summary = {
            "clips": len(ids),
            "outliers": grouping.outliers,
            "silhouette": grouping.silhouette,
            "parameters": grouping.parameters,
            "on_map": len(grouping.map_rows),
            "events": found.events,
            "next_lasting_id": found.next_id,
            "seconds": round(seconds, 1),
        }
        self._check()
        with self._store.write() as session:
            now = dt.datetime.now(dt.UTC)
            if not cluster_runs.finish(session, self.run.id, clusters, summary, now, found.message):
                raise Stopped

    def _told(self, profile: Profile, ids: Ids) -> dict[str, Any]:
        """A profile as JSON, clips and people by their own ids."""
        dominant = profile.dominant
        return {
            "size": profile.size,
            "share": profile.share,
            "emotions": dict(zip(LABELS, profile.emotions, strict=True)),
            "emotions_known": profile.emotions_known,
            "dominant_emotion": None if dominant == NONE else LABELS[dominant],
            "scores": None
            if profile.scores is None
            else dict(zip(LABELS, profile.scores, strict=True)),
            "mean_confidence": profile.mean_confidence,
            "cohesion": profile.cohesion,
            "radius": profile.radius,
            "exemplars": ids[list(profile.exemplars)].tolist(),
            "customers": self._leaders("customers", profile.customers),
            "agents": self._leaders("agents", profile.agents),
            "trend": {
                "first_week": _date(profile.trend.first_monday),
                "clips": list(profile.trend.clips),
                "slope": profile.trend.slope,
                "slope_error": profile.trend.slope_error,
            },
        }

    def _leaders(self, kind: str, leaders: Sequence[Leader]) -> list[dict[str, Any]]:
        names = list(self._people[kind])
        told = []
        for one in leaders:
            rest = {k: v for k, v in dataclasses.asdict(one).items() if k != "number"}
            told.append({"id": names[one.number], **rest})
        return told

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stopped


def _date(instant: int) -> str:
    """Of microseconds since 1970."""
    return str(np.datetime64(instant, "us").astype("datetime64[D]"))


def _in_groups(blocks: Iterable[_Block], size: int) -> Iterator[list[_Block]]:
    group: list[_Block] = []
    for block in blocks:
        group.append(block)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
