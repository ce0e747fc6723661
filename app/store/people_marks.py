"""Whose row in the table `people` is behind: written by whoever changes clips, with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from sqlalchemy import delete, exists, false, insert, select, true
from sqlalchemy.orm import Session

from app.domain import ClipFields, PersonKind
from app.store import people
from app.store.analysis_tables import PersonMarkRow
from app.store.embeddings import CHUNK
from app.store.tables import Base

KINDS: tuple[PersonKind, ...] = get_args(PersonKind)  # in the order of OfClip
MARKS = Base.metadata.tables[PersonMarkRow.__tablename__]
ADD_MARK = insert(MARKS)
# Equalities, not truths: SQLite would look these up by the kind alone.
NAMED, ONWARD = MARKS.c.onward == false(), MARKS.c.onward == true()

OfClip = Sequence[str | None]  # customer_id and agent_id


@dataclasses.dataclass(frozen=True, slots=True)
class Behind:
    """Some who are behind, and the marks that say so."""

    persons: list[str]
    marks: list[int]
    onward: str | None  # all after this id are behind, too


def of_clip(fields: ClipFields) -> OfClip:
    return fields.customer_id, fields.agent_id


def changed(session: Session, clips: Iterable[OfClip]) -> None:
    """Clips of these were added or removed in this transaction, or are no longer what they were."""
    persons = {
        (kind, person)
        for clip in clips
        for kind, person in zip(KINDS, clip, strict=True)
        if person is not None
    }
    _add(session, [(kind, False, person) for kind, person in sorted(persons)])


def forget_gone(session: Session, clips: Sequence[OfClip]) -> None:
    """Clips of these were removed in this transaction: who has none left is listed no more."""
    for kind, persons in zip(KINDS, zip(*clips, strict=True), strict=False):
        people.forget_gone(
            session, kind, list({person for person in persons if person is not None})
        )


def everybody(session: Session, kinds: Iterable[PersonKind] = KINDS) -> None:
    """Any clip may be no longer what it was."""
    _add(session, [(kind, True, None) for kind in kinds])


def behind(session: Session, kind: PersonKind, limit: int) -> Behind | None:
    """Up to twice so many, at most CHUNK / 2: some of those named, and the next of everybody if
    everybody is; None: nobody is, or those of the other kind are named first."""
    of_kind = select(MARKS.c.id, MARKS.c.person).where(MARKS.c.kind == kind)
    connection = session.connection()
    # Of both kinds, or else a database might sort all marks of one each time.
    oldest = select(MARKS.c.kind, MARKS.c.person).where(NAMED).order_by(MARKS.c.id)
    named = [mark.person for mark in connection.execute(oldest.limit(limit)) if mark.kind == kind]
    # Two that count everybody become one, which begins where the one further behind is.
    onward = connection.execute(
        of_kind.where(ONWARD).order_by(MARKS.c.person.is_not(None), MARKS.c.person)
    ).all()
    if not named and not onward:
        return None
    next_ones = people.persons(session, kind, onward[0].person, limit) if onward else []
    persons = list(dict.fromkeys([*named, *next_ones]))
    theirs = of_kind.where(NAMED, MARKS.c.person.in_(persons))
    return Behind(
        persons,
        [mark.id for mark in (*onward, *connection.execute(theirs))],
        next_ones[-1] if next_ones else None,
    )


def brought_in(session: Session, kind: PersonKind, done: Behind) -> None:
    """These are up to their clips as they were when `done` was read, or later."""
    for start in range(0, len(done.marks), CHUNK):
        session.execute(delete(MARKS).where(MARKS.c.id.in_(done.marks[start : start + CHUNK])))
    if done.onward is not None:
        _add(session, [(kind, True, done.onward)])


def any_left(session: Session) -> bool:
    """Whether anybody is behind."""
    return bool(session.scalar(select(exists().select_from(MARKS))))


def _add(session: Session, marks: Sequence[tuple[PersonKind, bool, str | None]]) -> None:
    if marks:
        rows: list[dict[str, Any]] = [
            {"kind": kind, "onward": onward, "person": person} for kind, onward, person in marks
        ]
        session.connection().execute(ADD_MARK, rows)
