"""Reports that are made by themselves: each slot of a schedule once, over the time since the slot
before. Slots that passed while nobody looked are made up for, the latest `catch_up` of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from app.domain import ClipFilter
from app.errors import InvalidParameter, NotFound
from app.library.cron import Cron
from app.library.filter_json import from_json, to_json
from app.library.reports import Grouping
from app.store import Store, schedules
from app.store.reports import NewReport
from app.store.schedules import NewSchedule, Schedule

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class WantedSchedule:
    """What somebody asks for. The filters have no period: each slot has its own."""

    name: str
    cron: str
    time_zone: str = "UTC"
    filters: ClipFilter = dataclasses.field(default_factory=ClipFilter)
    grouping: Grouping = dataclasses.field(default_factory=Grouping)
    catch_up: int = 5
    enabled: bool = True


class Schedules:
    """Several processes may use one database.

    Args:
        now: the clock.
    """

    def __init__(self, store: Store, now: Callable[[], dt.datetime]) -> None:
        self._store = store
        self._now = now

    def add(self, wanted: WantedSchedule) -> Schedule:
        """Raises InvalidParameter: cron, time_zone, filters."""
        now = self._now()
        new = NewSchedule(**_columns(wanted), next_slot=_cron_of(wanted).after(now))
        with self._store.write() as session:
            return schedules.add(session, new, now)

    def get(self, schedule_id: int) -> Schedule:
        """Raises NotFound."""
        with self._store.read() as session:
            found = schedules.get(session, schedule_id)
        return _there(found, schedule_id)

    def all_of_them(self) -> list[Schedule]:
        with self._store.read() as session:
            return schedules.all_of_them(session)

    def change(self, schedule_id: int, changes: dict[str, Any]) -> Schedule:
        """Some fields of WantedSchedule. Slots before now are given up where the times change or
        it was not enabled.

        Raises:
            InvalidParameter: as `add`.
            NotFound
        """
        with self._store.write() as session:
            old = _there(schedules.get(session, schedule_id, lock=True), schedule_id)
            wanted = dataclasses.replace(_wanted(old), **changes)
            columns = _columns(wanted)
            if (old.cron, old.time_zone) != (wanted.cron, wanted.time_zone) or not old.enabled:
                columns["next_slot"] = _cron_of(wanted).after(self._now())
            else:
                _cron_of(wanted)
            return schedules.update(session, schedule_id, columns)

    def remove(self, schedule_id: int) -> None:
        """Its reports stay. Raises NotFound."""
        with self._store.write() as session:
            if not schedules.remove(session, schedule_id):
                raise NotFound(f"There is no schedule {schedule_id}.")

    def due(self) -> list[tuple[int, dt.datetime]]:
        """The next slot of each schedule that has one that is over, when those that are too many
        to be made up for were left out."""
        now = self._now()
        with self._store.read() as session:
            found = schedules.due(session, now)
        return [(one.id, self._first_kept(one, now)) for one in found]

    def fire(self, schedule_id: int, slot: dt.datetime) -> bool:
        """Have the report of a slot made, if nobody did: the one note of it is with the report, in
        one transaction. False: it is made, or not wanted any more."""
        with self._store.read() as session:
            one = schedules.get(session, schedule_id)
        if one is None or one.next_slot != slot:
            return False
        cron = Cron(one.cron, one.time_zone)
        period = dataclasses.replace(from_json(one.filters), since=cron.before(slot), until=slot)
        report = NewReport(
            one.name, to_json(period), one.grouping, schedule_id=schedule_id, slot=slot
        )
        with self._store.write() as session:
            return schedules.fire(session, schedule_id, slot, report, cron.after(slot), self._now())

    def _first_kept(self, one: Schedule, now: dt.datetime) -> dt.datetime:
        cron, kept = Cron(one.cron, one.time_zone), one.next_slot
        missed = [cron.before(now + dt.timedelta(microseconds=1))]
        while len(missed) < one.catch_up and missed[-1] > one.next_slot:
            missed.append(cron.before(missed[-1]))
        if missed[-1] > kept:
            kept = missed[-1]
            log.warning("Schedule %d: slots before %s were missed for good.", one.id, kept)
            with self._store.write() as session:
                schedules.skip(session, one.id, one.next_slot, kept)
        return kept


def _columns(wanted: WantedSchedule) -> dict[str, Any]:
    if wanted.filters.since is not None or wanted.filters.until is not None:
        raise InvalidParameter(
            "filters",
            "have no since and until here: each report is of the time since the last slot.",
        )
    return {
        "name": wanted.name,
        "cron": wanted.cron,
        "time_zone": wanted.time_zone,
        "filters": to_json(wanted.filters),
        "grouping": wanted.grouping.to_json(),
        "catch_up": wanted.catch_up,
        "enabled": wanted.enabled,
    }


def _wanted(one: Schedule) -> WantedSchedule:
    return WantedSchedule(
        one.name,
        one.cron,
        one.time_zone,
        from_json(one.filters),
        Grouping(**one.grouping),
        one.catch_up,
        one.enabled,
    )


def _cron_of(wanted: WantedSchedule) -> Cron:
    return Cron(wanted.cron, wanted.time_zone)


def _there(found: Schedule | None, schedule_id: int) -> Schedule:
    if found is None:
        raise NotFound(f"There is no schedule {schedule_id}.")
    return found
