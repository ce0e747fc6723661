"""When reports are made by themselves."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store import reports
from app.store.analysis_tables import ScheduleRow


@dataclasses.dataclass(frozen=True, slots=True)
class NewSchedule:
    name: str
    cron: str
    time_zone: str
    filters: dict[str, Any]
    grouping: dict[str, Any]
    catch_up: int
    enabled: bool
    next_slot: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule(NewSchedule):
    id: int
    created: dt.datetime
    last_slot: dt.datetime | None  # the latest that has a report


def add(session: Session, new: NewSchedule, now: dt.datetime) -> Schedule:
    row = ScheduleRow(**dataclasses.asdict(new), created_at=now)
    session.add(row)
    session.flush()
    return _schedule(row)


def get(session: Session, schedule_id: int, *, lock: bool = False) -> Schedule | None:
    query = select(ScheduleRow).where(ScheduleRow.id == schedule_id)
    row = session.scalar(query.with_for_update() if lock else query)
    return None if row is None else _schedule(row)


def all_of_them(session: Session) -> list[Schedule]:
    return [_schedule(row) for row in session.scalars(select(ScheduleRow).order_by(ScheduleRow.id))]


def due(session: Session, now: dt.datetime) -> list[Schedule]:
    """Those that have a slot that is over."""
    query = select(ScheduleRow).where(ScheduleRow.enabled, ScheduleRow.next_slot <= now)
    return [_schedule(row) for row in session.scalars(query.order_by(ScheduleRow.id))]


def update(session: Session, schedule_id: int, changes: dict[str, Any]) -> Schedule:
    row = session.get_one(ScheduleRow, schedule_id)
    for name, value in changes.items():
        setattr(row, name, value)
    session.flush()
    return _schedule(row)


def remove(session: Session, schedule_id: int) -> bool:
    """Its reports stay. False: there is no such schedule."""
    gone = delete(ScheduleRow).where(ScheduleRow.id == schedule_id).returning(ScheduleRow.id)
    return session.scalar(gone) is not None


def fire(
    session: Session,
    schedule_id: int,
    slot: dt.datetime,
    report: reports.NewReport,
    following: dt.datetime,
    now: dt.datetime,
) -> bool:
    """Put the report of a slot behind those that are queued and go on to the slot that follows.
    False: another process did, the schedule was changed, or it is gone."""
    row = session.scalar(select(ScheduleRow).where(ScheduleRow.id == schedule_id).with_for_update())
    if row is None or not row.enabled or row.next_slot != slot:
        return False
    if not reports.has_slot(session, schedule_id, slot):  # a clock that was set back may come twice
        reports.add(session, report, now)
    row.last_slot, row.next_slot = slot, following
    return True


def skip(session: Session, schedule_id: int, slot: dt.datetime, to: dt.datetime) -> None:
    """Go on to a later slot, from one that nobody has taken meanwhile."""
    row = session.scalar(select(ScheduleRow).where(ScheduleRow.id == schedule_id).with_for_update())
    if row is not None and row.next_slot == slot:
        row.next_slot = to


def _schedule(row: ScheduleRow) -> Schedule:
    return Schedule(
        id=row.id,
        name=row.name,
        cron=row.cron,
        time_zone=row.time_zone,
        filters=row.filters,
        grouping=row.grouping,
        catch_up=row.catch_up,
        enabled=row.enabled,
        created=row.created_at,
        last_slot=row.last_slot,
        next_slot=row.next_slot,
    )
