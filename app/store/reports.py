"""Reports that were asked for or fell due: queued, worked on, done."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store import cluster_runs
from app.store.analysis_tables import ReportRow

State = Literal["queued", "running", "done", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class NewReport:
    """What is asked for."""

    name: str
    filters: dict[str, Any]
    grouping: dict[str, Any]  # algorithm, n_clusters, seed
    previous: int | None = None
    schedule_id: int | None = None
    slot: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """A report as the store knows it."""

    id: int
    name: str
    schedule_id: int | None
    slot: dt.datetime | None
    filters: dict[str, Any]
    grouping: dict[str, Any]
    previous: int | None
    cluster_run: int | None
    state: State
    created: dt.datetime
    finished: dt.datetime | None
    message: str | None
    figures: dict[str, Any] | None  # of one that is done: numbers without persons


def add(session: Session, new: NewReport, now: dt.datetime) -> Report:
    """Put a report behind those that are queued."""
    row = ReportRow(**dataclasses.asdict(new), state="queued", created_at=now)
    session.add(row)
    session.flush()
    return _report(row)


def get(session: Session, report_id: int) -> Report | None:
    row = session.get(ReportRow, report_id)
    return None if row is None else _report(row)


def page(
    session: Session, limit: int, before: int | None, schedule_id: int | None = None
) -> list[Report]:
    """Up to `limit` reports, newest first, with ids below `before`; of one schedule or of all."""
    query = select(ReportRow).order_by(ReportRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ReportRow.id < before)
    if schedule_id is not None:
        query = query.where(ReportRow.schedule_id == schedule_id)
    return [_report(row) for row in session.scalars(query)]


def next_one(session: Session) -> Report | None:
    """The first that is neither done nor failed."""
    waiting = ReportRow.state.in_(("queued", "running"))
    row = session.scalar(select(ReportRow).where(waiting).order_by(ReportRow.id).limit(1))
    return None if row is None else _report(row)


def last_done(session: Session, schedule_id: int, before: int) -> Report | None:
    """The newest report of a schedule below id `before` that is done and has clusters."""
    query = (
        select(ReportRow)
        .where(ReportRow.schedule_id == schedule_id, ReportRow.id < before)
        .where(ReportRow.state == "done", ReportRow.cluster_run.is_not(None))
        .order_by(ReportRow.id.desc())
        .limit(1)
    )
    row = session.scalar(query)
    return None if row is None else _report(row)


def take_up(
    session: Session,
    report_id: int,
    previous: int | None,
    run: cluster_runs.NewRun,
    now: dt.datetime,
) -> int | None:
    """Begin its cluster run, once. Returns the run's id; None: the report was deleted."""
    row = _locked(session, report_id)
    if row is None:
        return None
    if row.cluster_run is None:
        row.cluster_run = cluster_runs.begin(session, run, now).id
        row.previous, row.state = previous, "running"
    return row.cluster_run


def end(
    session: Session,
    report_id: int,
    state: Literal["done", "failed"],
    now: dt.datetime,
    *,
    figures: dict[str, Any] | None = None,
    message: str | None = None,
) -> None:
    """Note what came of it, if it was not deleted."""
    row = _locked(session, report_id)
    if row is not None:
        row.state, row.figures, row.message, row.finished_at = state, figures, message, now


def remove(session: Session, report_id: int) -> int | Literal[False] | None:
    """Delete a report. Returns its cluster run, which is left; False: there is no such report."""
    gone = delete(ReportRow).where(ReportRow.id == report_id).returning(ReportRow.cluster_run)
    rows = session.execute(gone).all()
    return rows[0][0] if rows else False


def older(session: Session, instant: dt.datetime, limit: int) -> list[int]:
    """Ids of up to `limit` reports that ended before an instant."""
    query = select(ReportRow.id).where(ReportRow.finished_at < instant).order_by(ReportRow.id)
    return list(session.scalars(query.limit(limit)))


def has_slot(session: Session, schedule_id: int, slot: dt.datetime) -> bool:
    query = select(ReportRow.id).where(ReportRow.schedule_id == schedule_id, ReportRow.slot == slot)
    return session.scalar(query.limit(1)) is not None


def of_run(session: Session, run_id: int) -> int | None:
    """The report that a cluster run belongs to, if it belongs to one."""
    return session.scalar(select(ReportRow.id).where(ReportRow.cluster_run == run_id).limit(1))


def _locked(session: Session, report_id: int) -> ReportRow | None:
    return session.scalar(select(ReportRow).where(ReportRow.id == report_id).with_for_update())


def _report(row: ReportRow) -> Report:
    return Report(
        id=row.id,
        name=row.name,
        schedule_id=row.schedule_id,
        slot=row.slot,
        filters=row.filters,
        grouping=row.grouping,
        previous=row.previous,
        cluster_run=row.cluster_run,
        state=row.state,  # type: ignore[arg-type]  # the column holds only State values
        created=row.created_at,
        finished=row.finished_at,
        message=row.message,
        figures=row.figures,
    )
