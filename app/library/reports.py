"""Reports that outlive the process: queued, worked on one after the other, read, retained."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable
from typing import Any, Literal

from app.analysis.grouping import Algorithm, Asked
from app.domain import ClipFilter
from app.errors import Conflict, NotFound, Unavailable
from app.library import report_content
from app.library.clusterings import Clusterings
from app.library.filter_json import from_json, to_json
from app.store import Session, Store, cluster_runs, clusterable, reports
from app.store.cluster_runs import NewRun, Run
from app.store.reports import NewReport, Report

EXPIRED_AT_ONCE = 100  # reports that one round of retention deletes

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Grouping:
    """How a report groups its clips."""

    algorithm: Algorithm = "hdbscan"
    n_clusters: int | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Reports:
    """`begin` and `remove` note what is wanted; `work`, in its caller's thread, goes on with the
    first that is not done. Clusters are found by `clusterings`, in theirs."""

    def __init__(
        self, store: Store, clusterings: Clusterings, model_row: Callable[[], int], days: float
    ) -> None:
        self._store = store
        self._clusterings = clusterings
        self._model_row = model_row
        self._kept = dt.timedelta(days=days)

    def begin(self, name: str, filters: ClipFilter, grouping: Grouping) -> Report:
        """Have one made."""
        with self._store.write() as session:
            return reports.add(
                session, NewReport(name, to_json(filters), grouping.to_json()), _now()
            )

    def get(self, report_id: int) -> Report:
        """Raises NotFound."""
        with self._store.read() as session:
            report = reports.get(session, report_id)
        if report is None:
            raise NotFound(f"There is no report {report_id}.")
        return report

    def page(self, limit: int, before: int | None, schedule_id: int | None) -> list[Report]:
        """Up to `limit` reports, newest first, with ids below `before`."""
        with self._store.read() as session:
            return reports.page(session, limit, before, schedule_id)

    def content(self, report_id: int) -> dict[str, Any]:
        """What it says. Raises NotFound; Conflict: it is not done."""
        report = self.get(report_id)
        if report.state != "done":
            why = f" ({report.message})" if report.message else ""
            raise Conflict(f"Report {report_id} is {report.state}{why}.")
        return report_content.content(self._store, self._clusterings, report)

    def remove(self, report_id: int) -> None:
        """With its clusters; one that is under way ends. Raises NotFound."""
        with self._store.write() as session:
            run_id = reports.remove(session, report_id)
            if run_id is False:
                raise NotFound(f"There is no report {report_id}.")
            if run_id is not None:
                cluster_runs.remove(session, run_id)
        if run_id is not None:
            self._clusterings.end(run_id)

    def work(self) -> None:
        """Go on with the first report that is not done, as far as it goes without waiting.

        Raises:
            Unavailable: the database does not answer; call it again.
        """
        while True:
            with self._store.read() as session:
                report = reports.next_one(session)
            if report is None or not self._went_on(report):
                return

    def expire(self) -> None:
        """Delete reports that ended longer ago than they are kept."""
        with self._store.read() as session:
            old = reports.older(session, _now() - self._kept, EXPIRED_AT_ONCE)
        for report_id in old:
            with contextlib.suppress(NotFound):
                self.remove(report_id)
        if old:
            log.info("Removed %d old reports.", len(old))

    def _went_on(self, report: Report) -> bool:
        """False: there is something to wait for."""
        if report.cluster_run is None:
            return self._begin_run(report)
        with self._store.read() as session:
            run = cluster_runs.get(session, report.cluster_run)
        if run is None:  # runs of reports are not deleted by themselves
            self._end(report, message="Its clusters were deleted.")
        elif run.state == "failed":
            self._end(report, message=run.message)
        elif run.state == "done":
            self._tell(report, run)
        else:
            return False
        return True

    def _tell(self, report: Report, run: Run) -> None:
        try:
            told = report_content.figures(self._store, report, run)
        except Unavailable:
            raise
        except Exception:  # or it would keep all others from being made
            log.exception("Report %d cannot be made.", report.id)
            self._end(report, message="It could not be made; the service's log says why.")
        else:
            self._end(report, figures=told, message=run.message)

    def _begin_run(self, report: Report) -> bool:
        """Raises Unavailable."""
        grouping, model_row = report.grouping, self._model_row()
        fewest = Asked(**grouping, now=0).fewest
        with self._store.read() as session:
            count = len(clusterable.ids(session, model_row, from_json(report.filters)))
        if count < fewest:
            message = (
                f"{count} clips can be compared; groups are looked for among {fewest} or more."
            )
            told = report_content.figures(self._store, report, None)
            self._end(report, figures=told, message=message)
            return True
        with self._store.write() as session:
            before = self._before(session, report, model_row)
            run = NewRun(
                model_row,
                grouping["algorithm"],
                grouping["n_clusters"],
                grouping["seed"],
                report.filters,
                None if before is None else before.cluster_run,
            )
            previous = None if before is None else before.id
            reports.take_up(session, report.id, previous, run, _now())
        self._clusterings.wake()
        return True

    @staticmethod
    def _before(session: Session, report: Report, model_row: int) -> Report | None:
        """The report of the same schedule whose clusters can be compared with this one's."""
        if report.schedule_id is None:
            return None
        before = reports.last_done(session, report.schedule_id, report.id)
        if before is None or before.cluster_run is None:
            return None
        run = cluster_runs.get(session, before.cluster_run)
        return before if run is not None and run.model_row == model_row else None

    def _end(
        self, report: Report, *, figures: dict[str, Any] | None = None, message: str | None
    ) -> None:
        with self._store.write() as session:
            state: Literal["done", "failed"] = "failed" if figures is None else "done"
            reports.end(session, report.id, state, _now(), figures=figures, message=message)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
