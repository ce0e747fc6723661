"""Schedules: when reports are made by themselves."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from app.errors import InvalidParameter
from app.http.clusters import MOST_RUNS
from app.http.filter_body import FilterBody
from app.http.parameters import Text, library_of
from app.http.problems import responses
from app.http.report_schemas import GroupingBody
from app.library import Library
from app.library.schedules import WantedSchedule
from app.store.schedules import Schedule

router = APIRouter(prefix="/api/v1/schedules", tags=["reports"])

ScheduleId = Annotated[int, Path(ge=1, le=MOST_RUNS, description="A schedule's id.")]
MOST_CATCH_UP = 52


class ScheduleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field("Report", description="The heading of its reports.")
    cron: Text = Field(
        description="Minute, hour, day of the month, month, day of the week. A time that the "
        "clock leaps over in spring counts as if it had not; one that comes twice, the first time.",
        examples=["0 7 * * MON"],
    )
    time_zone: Annotated[Text, Field(max_length=100)] = Field(
        "UTC", description="Of the expression.", examples=["Europe/Berlin"]
    )
    filters: FilterBody = Field(
        default_factory=FilterBody,
        description="Which clips; without `since` and `until`: each report is of the time from the "
        "slot before to its own.",
    )
    settings: GroupingBody = Field(default_factory=GroupingBody)
    catch_up: int = Field(
        5,
        ge=1,
        le=MOST_CATCH_UP,
        description="Of slots that passed while the service was not there, so many, the latest, "
        "get their reports afterwards, each of its own time.",
    )
    enabled: bool = True

    def wanted(self) -> WantedSchedule:
        return WantedSchedule(**_fields(self))


class SchedulePatch(ScheduleBody):
    """What is not given stays."""

    cron: Text = Field("", description="As in POST.")


class ScheduleView(BaseModel):
    id: int
    name: str
    cron: str
    time_zone: str
    filters: dict[str, Any]
    settings: dict[str, Any]
    catch_up: int
    enabled: bool
    created: dt.datetime
    next_run: dt.datetime | None = Field(description="The next slot; null while not enabled.")
    last_run: dt.datetime | None = Field(description="The latest slot that has a report.")

    @classmethod
    def of(cls, one: Schedule) -> Self:
        return cls(
            id=one.id,
            name=one.name,
            cron=one.cron,
            time_zone=one.time_zone,
            filters=one.filters,
            settings=one.grouping,
            catch_up=one.catch_up,
            enabled=one.enabled,
            created=one.created,
            next_run=one.next_slot if one.enabled else None,
            last_run=one.last_slot,
        )


class ScheduleList(BaseModel):
    schedules: list[ScheduleView]


@router.post("", status_code=201, responses=responses(), summary="Make reports by a schedule")
def add_schedule(wanted: ScheduleBody, library: Library = Depends(library_of)) -> ScheduleView:
    """Each slot gets one report, also where the service ended before or during it."""
    return ScheduleView.of(library.schedules.add(wanted.wanted()))


@router.get("", responses=responses(), summary="All schedules")
def list_schedules(library: Library = Depends(library_of)) -> ScheduleList:
    return ScheduleList(schedules=[ScheduleView.of(one) for one in library.schedules.all_of_them()])


@router.get("/{schedule_id}", responses=responses(404), summary="One schedule")
def get_schedule(schedule_id: ScheduleId, library: Library = Depends(library_of)) -> ScheduleView:
    return ScheduleView.of(library.schedules.get(schedule_id))


@router.patch("/{schedule_id}", responses=responses(404), summary="Change a schedule")
def change_schedule(
    schedule_id: ScheduleId, changes: SchedulePatch, library: Library = Depends(library_of)
) -> ScheduleView:
    """Where the times change, or a schedule is enabled again, slots that passed are given up."""
    given = {k: v for k, v in _fields(changes).items() if _source(k) in changes.model_fields_set}
    if not given:
        raise InvalidParameter("body", "changes nothing.")
    return ScheduleView.of(library.schedules.change(schedule_id, given))


@router.delete(
    "/{schedule_id}", status_code=204, responses=responses(404), summary="Delete a schedule"
)
def delete_schedule(schedule_id: ScheduleId, library: Library = Depends(library_of)) -> None:
    """Its reports stay."""
    library.schedules.remove(schedule_id)


def _fields(body: ScheduleBody) -> dict[str, Any]:
    plain = ("name", "cron", "time_zone", "catch_up", "enabled")
    fields: dict[str, Any] = {name: getattr(body, name) for name in plain}
    return fields | {"filters": body.filters.wanted(), "grouping": body.settings.wanted()}


def _source(field: str) -> str:
    return "settings" if field == "grouping" else field
