"""How far classifiers have come with the clips that were stored before somebody asked."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.orm import Session

from app.store.analysis_tables import ClassifierApplyRow, ClassifierRow
from app.store.tables import Base

APPLIES = Base.metadata.tables[ClassifierApplyRow.__tablename__]
CLASSIFIERS = Base.metadata.tables[ClassifierRow.__tablename__]

State = Literal["running", "done", "stopped", "failed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Apply:
    """`done` of `total` clips were scored by the fit, of which `counts` have each class as their
    most probable one. Without a fit it waits for the classifier to be trained."""

    classifier_id: int
    fit_id: int | None
    state: State
    done: int
    total: int
    counts: dict[str, int]
    started: dt.datetime
    finished: dt.datetime | None
    message: str | None


def of(session: Session, classifier_ids: Sequence[int]) -> dict[int, Apply]:
    """The last one of each classifier that has one."""
    query = select(APPLIES).where(APPLIES.c.classifier_id.in_(classifier_ids))
    return {row.classifier_id: _apply(row) for row in session.connection().execute(query)}


def in_use(session: Session) -> list[Apply]:
    """Those that are under way or done, in the order that they were begun in: what they have
    scored is to be scored by the active model's fit."""
    query = select(APPLIES).where(APPLIES.c.state.in_(("running", "done")))
    ordered = query.order_by(APPLIES.c.started_at, APPLIES.c.classifier_id)
    return [_apply(row) for row in session.connection().execute(ordered)]


def locked(session: Session, classifier_id: int) -> Apply | None:
    """Nobody else changes it before the commit."""
    query = select(APPLIES).where(APPLIES.c.classifier_id == classifier_id).with_for_update()
    row = session.connection().execute(query).one_or_none()
    return None if row is None else _apply(row)


def begin(
    session: Session,
    classifier_id: int,
    fit_id: int | None,
    total: int,
    now: dt.datetime,
    message: str | None = None,
) -> bool:
    """In the place of the last one. False: the classifier is gone, or one is under way."""
    connection = session.connection()
    # Locked: of two who begin, one waits, and then finds the other's.
    its = select(CLASSIFIERS.c.id).where(CLASSIFIERS.c.id == classifier_id).with_for_update()
    if connection.scalar(its) is None:
        return False
    last = locked(session, classifier_id)
    if last is not None and last.state == "running":
        return False
    connection.execute(delete(APPLIES).where(APPLIES.c.classifier_id == classifier_id))
    connection.execute(
        insert(APPLIES),
        {
            "classifier_id": classifier_id,
            "fit_id": fit_id,
            "state": "running",
            "done": 0,
            "total": total,
            "counts": {},
            "started_at": now,
            "message": message,
        },
    )
    return True


def aim(session: Session, classifier_id: int, fit_id: int, total: int, message: str | None) -> None:
    """Have one that is under way, or was done by another fit, go over the clips with this one."""
    _change(
        session,
        classifier_id,
        fit_id=fit_id,
        state="running",
        done=0,
        total=total,
        counts={},
        finished_at=None,
        message=message,
    )


def advance(
    session: Session, classifier_id: int, done: int, total: int, counts: Mapping[str, int]
) -> None:
    """Note how far it came, in the transaction that brought it there."""
    _change(session, classifier_id, done=done, total=total, counts=dict(counts))


def finish(
    session: Session,
    classifier_id: int,
    state: State,
    now: dt.datetime,
    message: str | None,
    *,
    total: int | None = None,
) -> None:
    """A message that it has stays where there is no other."""
    changes: dict[str, object] = {"state": state, "finished_at": now}
    if message is not None:
        changes["message"] = message
    if total is not None:
        changes["total"] = total
    _change(session, classifier_id, **changes)


def _change(session: Session, classifier_id: int, **changes: object) -> None:
    its = update(APPLIES).where(APPLIES.c.classifier_id == classifier_id)
    session.connection().execute(its.values(**changes))


def _apply(row: Row[tuple[object, ...]]) -> Apply:
    return Apply(
        classifier_id=row.classifier_id,
        fit_id=row.fit_id,
        state=row.state,
        done=row.done,
        total=row.total,
        counts=row.counts,
        started=row.started_at,
        finished=row.finished_at,
        message=row.message,
    )
