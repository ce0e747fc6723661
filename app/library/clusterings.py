"""Groupings of clips that outlive the process: queued, worked on one after the other, read."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import threading

import numpy as np
from numpy.typing import NDArray

from app.analysis.grouping import Algorithm, TooFew
from app.analysis.process import WorkerEnded
from app.domain import ClipFilter
from app.errors import InvalidParameter, NotFound, Unavailable
from app.library.filter_json import to_json
from app.library.grouping_run import GroupingRun, Stopped
from app.store import Store, cluster_runs, clusterable
from app.store.cluster_runs import NewRun, Points, Run, StoredCluster

MOST_ATTEMPTS = 3  # processes that begin one: what ends a service twice more would do so for ever
EXEMPLARS = 5  # clips of a cluster that are told

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A grouping that somebody asks for."""

    algorithm: Algorithm
    n_clusters: int | None = None
    seed: int = 0
    filters: ClipFilter = dataclasses.field(default_factory=ClipFilter)
    previous: int | None = None  # the run whose clusters and map it is compared with


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """Of a run under way: the step, and clips read of those that match."""

    step: str
    done: int
    total: int


class Clusterings:
    """`begin` and `remove` note what is wanted; `work` does it, one at a time, in its caller's
    thread. A run uses the embeddings of one model, the active one when it was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changing = threading.Lock()
        self._at_work: GroupingRun | None = None
        self._closing = False
        self._counted: set[int] = set()  # runs whose attempt by this process is noted
        self._look = True  # whether a run may be waiting

    def begin(self, wanted: Wanted, model_row: int) -> Run:
        """Have it done. Raises InvalidParameter: `previous` is not a run that it can follow."""
        new = NewRun(
            model_row,
            wanted.algorithm,
            wanted.n_clusters,
            wanted.seed,
            to_json(wanted.filters),
            wanted.previous,
        )
        try:
            with self._store.write() as session:
                if wanted.previous is not None:
                    _check_previous(cluster_runs.get(session, wanted.previous), model_row)
                return cluster_runs.begin(session, new, _now())
        finally:  # also a commit that raised may have happened
            self._look = True

    def get(self, run_id: int) -> Run:
        """Raises NotFound."""
        with self._store.read() as session:
            run = cluster_runs.get(session, run_id)
        if run is None:
            raise NotFound(f"There is no cluster run {run_id}.")
        return run

    def page(self, limit: int, before: int | None) -> list[Run]:
        """Up to `limit` runs, newest first, with ids below `before`."""
        with self._store.read() as session:
            return cluster_runs.page(session, limit, before)

    def progress(self, run_id: int) -> Progress | None:
        """Of the run, if it is under way in this process."""
        at_work = self._at_work
        if at_work is None or at_work.run.id != run_id:
            return None
        return Progress(at_work.step, at_work.done, at_work.total)

    def clusters(self, run_id: int) -> list[StoredCluster]:
        """As they were found, without clips that were deleted since: the first of the exemplars
        that is left is the medoid. Customers and agents without clips are left out too."""
        with self._store.read() as session:
            found = cluster_runs.clusters_of(session, run_id)
            exemplars = np.array([i for one in found for i in one.profile["exemplars"]], np.int64)
            left = set(exemplars[clusterable.live(session, exemplars)].tolist())
            people = {
                kind: [leader["id"] for one in found for leader in one.profile[kind]]
                for kind in ("customers", "agents")
            }
            customers, agents = clusterable.people_left(session, **people)
        kept = {"customers": customers, "agents": agents}
        return [
            dataclasses.replace(
                one,
                profile=one.profile
                | {"exemplars": [i for i in one.profile["exemplars"] if i in left][:EXEMPLARS]}
                | {
                    kind: [who for who in one.profile[kind] if who["id"] in kept[kind]]
                    for kind in kept
                },
            )
            for one in found
        ]

    def members(
        self, run_id: int, cluster: int, after: int, limit: int
    ) -> tuple[NDArray[np.int64], int | None]:
        """Ids of up to `limit` members beyond id `after` that exist, and where the next page
        begins, if there is one. `cluster` -1: the outliers."""
        with self._store.read() as session:
            ids = cluster_runs.members(session, run_id, cluster, after, limit + 1)
            live = clusterable.live(session, ids[:limit])
        return ids[:limit][live], int(ids[limit - 1]) if len(ids) > limit else None

    def points(self, run_id: int, after: int, limit: int) -> tuple[Points, int | None]:
        """Likewise, of clips on the map."""
        with self._store.read() as session:
            found = cluster_runs.points(session, run_id, after, limit + 1)
            live = clusterable.live(session, found.ids[:limit])
        kept = np.flatnonzero(live)
        return found.at(kept), int(found.ids[limit - 1]) if len(found.ids) > limit else None

    def remove(self, run_id: int) -> None:
        """With all that it found; one under way ends. Raises NotFound."""
        with self._store.write() as session:
            if not cluster_runs.remove(session, run_id):
                raise NotFound(f"There is no cluster run {run_id}.")
        with self._changing:
            if self._at_work is not None and self._at_work.run.id == run_id:
                self._at_work.stop()

    def work(self) -> None:
        """Do what is queued, if anything is.

        Raises:
            Unavailable: the database does not answer; call it again.
        """
        while self._look and not self._closing:
            self._look = False
            try:
                with self._store.read() as session:
                    run = cluster_runs.next_one(session)
                if run is not None:
                    self._do(run)
            except BaseException:
                self._look = True
                raise
            self._look |= run is not None

    def close(self) -> None:
        """Begin none any more; the one under way ends, and is begun again by the next process."""
        with self._changing:
            self._closing = True
            if self._at_work is not None:
                self._at_work.stop()

    def _do(self, run: Run) -> None:
        again = run.id in self._counted
        if not again and run.attempts >= MOST_ATTEMPTS:
            self._fail(run, f"The service ended {run.attempts} times while it was under way.")
            return
        with self._store.write() as session:
            if not cluster_runs.take_up(session, run.id, _now(), again=again):
                return
        self._counted.add(run.id)
        work = GroupingRun(self._store, run)
        with self._changing:
            if self._closing:
                work.stop()
            self._at_work = work
        try:
            work.do()
        except Stopped:
            if self._closing:
                with self._store.write() as session:
                    cluster_runs.put_back(session, run.id)
        except Unavailable:
            raise
        except TooFew as exc:
            self._fail(run, str(exc))
        except WorkerEnded as exc:
            log.error("The process of cluster run %d ended: %s.", run.id, exc)
            self._fail(run, "Its process was ended from outside, perhaps for want of memory.")
        except Exception as exc:
            log.exception("Cluster run %d failed.", run.id)
            self._fail(run, f"{type(exc).__name__}; the service's log has more.")
        finally:
            with self._changing:
                self._at_work = None

    def _fail(self, run: Run, message: str) -> None:
        with self._store.write() as session:
            cluster_runs.fail(session, run.id, message, _now())


def _check_previous(before: Run | None, model_row: int) -> None:
    if before is None or before.state != "done":
        raise InvalidParameter("previous", "is not a run that is done.")
    if before.model_row != model_row:
        raise InvalidParameter(
            "previous", f"used embeddings of {before.model.id}, not the active model's."
        )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
