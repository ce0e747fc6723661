"""When a cron expression falls due, in a time zone whose clocks are changed twice a year.

An expression is about what the clock on the wall says. A time that the clock leaps over counts as
if it had not leapt: 02:30 becomes 03:30. A time that comes twice counts the first time.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator

from croniter import croniter
from croniter.croniter import CroniterError

from app.errors import InvalidParameter

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
LEAP = dt.timedelta(hours=3)  # clocks are changed by less
YEARS_AHEAD = 8  # that a slot is looked for in: 29 February comes that seldom


class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week.

    Raises:
        InvalidParameter: the expression (`cron`) or the zone (`time_zone`) is not valid, or the
            expression never falls due.
    """

    def __init__(self, expression: str, time_zone: str) -> None:
        self._expression = " ".join(expression.split())
        names = re.findall(r"[A-Z]+", self._expression.upper())
        plain = re.fullmatch(r"[\dA-Z*,/-]+( [\dA-Z*,/-]+){4}", self._expression.upper())
        if not plain or not {*names} <= {*MONTHS, *DAYS}:
            raise InvalidParameter(
                "cron", "must be five fields, as in 0 7 * * MON: minute, hour, day, month, weekday."
            )
        try:
            self._zone = zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise InvalidParameter("time_zone", "is not one, as Europe/Berlin or UTC is.") from exc
        try:
            croniter(self._expression)
            self.after(dt.datetime.now(dt.UTC))
        except (CroniterError, ValueError, KeyError, OverflowError) as exc:
            raise InvalidParameter("cron", "is out of range, or never falls due.") from exc

    def after(self, instant: dt.datetime) -> dt.datetime:
        """The first slot later than an instant, in UTC."""
        earliest: dt.datetime | None = None
        until: dt.datetime | None = None
        for local, slot in self._slots(instant):
            if slot > instant and (earliest is None or slot < earliest):
                earliest = slot
            if earliest is not None:
                until = local + LEAP if until is None else until
                # Only where clocks change can a later time of the wall come earlier.
                if local >= until or self._steady(instant, earliest):
                    return earliest
        raise AssertionError("times go on for ever")

    def before(self, instant: dt.datetime) -> dt.datetime:
        """The last slot earlier than an instant, in UTC."""
        step = dt.timedelta(minutes=1)
        while (slot := self.after(instant - step)) >= instant:
            step *= 2
        latest = instant  # no slot is between it and the instant
        while (following := self.after(slot)) < instant:
            middle = following + (latest - following) / 2
            beyond = self.after(middle)
            if beyond < instant:
                slot = beyond
            else:
                slot, latest = following, middle
        return slot

    def _slots(self, instant: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
        """What the clock on the wall says, and when that is, from before an instant on."""
        start = instant.astimezone(self._zone).replace(tzinfo=None) - LEAP
        times = croniter(self._expression, start, max_years_between_matches=YEARS_AHEAD)
        while True:
            local: dt.datetime = times.get_next(dt.datetime)
            # Of a time that is leapt over this is the offset before, of one that comes twice the
            # first one's.
            yield local, local.replace(tzinfo=self._zone, fold=0).astimezone(dt.UTC)

    def _steady(self, start: dt.datetime, end: dt.datetime) -> bool:
        """Whether clocks keep their offset around a stretch of time."""
        instants = (start - LEAP, start, end, end + LEAP)
        return len({at.astimezone(self._zone).utcoffset() for at in instants}) == 1
