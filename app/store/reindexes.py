"""Reindexes that were asked for: begun, gone on with, stopped, and how they ended."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.tables import ReindexRow

Kind = Literal["rebuild", "reembed", "drop"]
State = Literal["running", "stopping", "done", "stopped", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Reindex:
    """`done` of `total` clips, and once it is finished what came of it. `model` is an id or a
    directory, of one that changes models; `summary` may have notes before it is finished."""

    id: int
    kind: Kind
    model: str | None
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


def begin(session: Session, kind: Kind, model: str | None, total: int, now: dt.datetime) -> Reindex:
    row = ReindexRow(kind=kind, model=model, state="running", done=0, total=total, started_at=now)
    session.add(row)
    session.flush()
    return _reindex(row)


def take_up(session: Session, id: int, done: int, total: int, message: str) -> Reindex:
    """Go on after an end of the process, of which the message tells."""
    row = session.get_one(ReindexRow, id)
    row.done, row.total, row.message = done, total, message
    return _reindex(row)


def advance(session: Session, id: int, done: int, total: int) -> None:
    """Note how far it came, in the transaction that brought it there."""
    row = session.get_one(ReindexRow, id)
    row.done, row.total = done, total


def note(session: Session, id: int, notes: dict[str, Any]) -> None:
    """For whoever goes on with it."""
    session.get_one(ReindexRow, id).summary = notes


def ask_to_stop(session: Session, id: int) -> None:
    """Whatever happens to the process, it will not be gone on with."""
    session.get_one(ReindexRow, id).state = "stopping"


def finish(session: Session, id: int, outcome: Outcome, total: int, now: dt.datetime) -> None:
    """Note how it ended. A message that it has stays where there is no other."""
    row = session.get_one(ReindexRow, id)
    row.state, row.done, row.total = outcome.state, outcome.done, total
    row.finished_at = now
    row.message, row.summary = outcome.message or row.message, outcome.summary


def _reindex(row: ReindexRow) -> Reindex:
    return Reindex(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]  # the column holds only Kind values
        model=row.model,
        state=row.state,  # type: ignore[arg-type]  # likewise
        done=row.done,
        total=row.total,
        started=row.started_at,
        finished=row.finished_at,
        message=row.message,
        summary=row.summary,
    )
