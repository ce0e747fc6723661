"""Looks for slots that are over and has their reports made, each once."""

from __future__ import annotations

import datetime as dt
import logging
import threading

from app.library.schedules import Schedules

PATIENCE = 10  # looks that a slot may stay due while DBOS is at it
QUIET = 60  # looks without a slot that is due, after which DBOS is ended

log = logging.getLogger(__name__)


class Scheduler:
    """`look` is called now and then, in one thread. DBOS, which asks the database every second, is
    there while slots are due: a service without schedules has none of it."""

    def __init__(self, schedules: Schedules, url: str) -> None:
        self._schedules = schedules
        self._url = url
        self._changing = threading.Lock()
        self._launched = self._closed = False
        self._quiet = 0
        self._looks: dict[tuple[int, dt.datetime], int] = {}

    def look(self) -> None:
        """Raises Unavailable."""
        due = self._schedules.due()
        self._looks = {slot: self._looks.get(slot, 0) + 1 for slot in due}
        self._quiet = 0 if due else self._quiet + 1
        with self._changing:
            if due and not self._closed:
                self._have_fired(due)
            elif self._quiet > QUIET:
                self._end()

    def close(self) -> None:
        with self._changing:
            self._closed = True
            self._end()

    def _have_fired(self, due: list[tuple[int, dt.datetime]]) -> None:
        from app.library import durable  # half a second that most services do without

        if not self._launched:
            durable.launch(self._url, self._schedules.fire)
            self._launched = True
        for schedule_id, slot in due:
            if self._looks[schedule_id, slot] <= PATIENCE:
                durable.begin(schedule_id, slot)
            else:  # a process that began it has ended, and may never come back
                log.warning("Slot %s of schedule %d is made up for.", slot, schedule_id)
                self._schedules.fire(schedule_id, slot)

    def _end(self) -> None:
        if self._launched:
            from app.library import durable

            durable.end()
            self._launched = False
