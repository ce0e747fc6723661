"""New builds of the index that were asked for: begun, stopped, and how they ended."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.tables import ReindexRow

Kind = Literal["rebuild"]
State = Literal["running", "stopping", "done", "stopped", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Reindex:
    """`done` of `total` clips, and once it is finished what came of it."""

    id: int
    kind: Kind
    state: State
    done: int
    total: int
    started: dt.datetime
    finished: dt.datetime | None
    message: str | None
    summary: dict[str, Any] | None

    @property
    def is_under_way(self) -> bool:
        return self.finished is None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a reindex ended."""

    state: Literal["done", "stopped", "failed"]
    done: int
    message: str | None
    summary: dict[str, Any] | None = None


def latest(session: Session) -> Reindex | None:
    """The one that was begun last, which alone may be under way."""
    row = session.scalar(select(ReindexRow).order_by(ReindexRow.id.desc()).limit(1))
    return None if row is None else _reindex(row)


def begin(session: Session, kind: Kind, total: int, now: dt.datetime) -> Reindex:
    row = ReindexRow(kind=kind, state="running", done=0, total=total, started_at=now)
    session.add(row)
    session.flush()
    return _reindex(row)


def begin_anew(session: Session, id: int, total: int, message: str) -> Reindex:
    """What was done of it is lost; the message says why."""
    row = session.get_one(ReindexRow, id)
    row.done, row.total, row.message = 0, total, message
    return _reindex(row)


def ask_to_stop(session: Session, id: int) -> None:
    """Whatever happens to the process, it will not be gone on with."""
    session.get_one(ReindexRow, id).state = "stopping"


def finish(session: Session, id: int, outcome: Outcome, now: dt.datetime) -> None:
    """Note how it ended. A message that it has stays where there is no other."""
    row = session.get_one(ReindexRow, id)
    row.state, row.done, row.finished_at = outcome.state, outcome.done, now
    row.message, row.summary = outcome.message or row.message, outcome.summary


def _reindex(row: ReindexRow) -> Reindex:
    return Reindex(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]  # the column holds only Kind values
        state=row.state,  # type: ignore[arg-type]  # likewise
        done=row.done,
        total=row.total,
        started=row.started_at,
        finished=row.finished_at,
        message=row.message,
        summary=row.summary,
    )
