"""What is to be brought into the table `people`: written by whoever changes clips, with them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.orm import Session

from app.domain import ClipFields, PersonKind
from app.store.embeddings import CHUNK
from app.store.tables import Base, PersonMarkRow

KINDS: tuple[PersonKind, ...] = get_args(PersonKind)  # in the order of OfClip
MARKS = Base.metadata.tables[PersonMarkRow.__tablename__]
ADD_MARK = insert(MARKS)

OfClip = Sequence[Any]  # customer_id, agent_id, emotion, each of which may be None


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """See PersonMarkRow."""

    id: int
    kind: PersonKind
    person: str
    emotion: str | None
    change: int


def added(session: Session, clips: Iterable[tuple[ClipFields, str | None]]) -> None:
    """Clips were stored, in this transaction, with these fields and emotions."""
    changed(session, added=[(said.customer_id, said.agent_id, emotion) for said, emotion in clips])


def changed(
    session: Session, *, removed: Iterable[OfClip] = (), added: Iterable[OfClip] = ()
) -> None:
    """Clips are no longer what they were, or have become what they were not."""
    changes: collections.Counter[tuple[str, str, str | None]] = collections.Counter()
    for sign, clips in ((-1, removed), (1, added)):
        for *persons, emotion in clips:
            for kind, person in zip(KINDS, persons, strict=True):
                if person is not None:
                    changes[kind, person, emotion] += sign
    if changes:
        session.connection().execute(
            ADD_MARK,
            [
                {"kind": kind, "person": person, "emotion": emotion, "change": change}
                for (kind, person, emotion), change in changes.items()
            ],
        )


def all_changed(session: Session, kinds: Iterable[PersonKind] = KINDS) -> None:
    """Everybody of these kinds is to be counted anew."""
    everybody = [{"kind": kind, "person": None, "emotion": None, "change": 0} for kind in kinds]
    session.connection().execute(ADD_MARK, everybody)


def oldest(session: Session, limit: int) -> list[Mark]:
    """Up to so many of those that name a person."""
    query = select(MARKS).where(MARKS.c.person.is_not(None)).order_by(MARKS.c.id).limit(limit)
    return [Mark(*row) for row in session.connection().execute(query)]


def of(session: Session, kind: PersonKind, persons: Sequence[str]) -> list[int]:
    """Ids of the marks of up to CHUNK persons."""
    assert len(persons) <= CHUNK
    query = select(MARKS.c.id).where(MARKS.c.kind == kind, MARKS.c.person.in_(persons))
    return list(session.scalars(query))


def of_all(session: Session, kind: PersonKind) -> list[int]:
    """Ids of the marks that ask for everybody of a kind."""
    query = select(MARKS.c.id).where(MARKS.c.kind == kind, MARKS.c.person.is_(None))
    return list(session.scalars(query))


def remove(session: Session, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), CHUNK):
        session.execute(delete(MARKS).where(MARKS.c.id.in_(ids[start : start + CHUNK])))


def any_left(session: Session) -> bool:
    """Whether `people` is behind the clips."""
    return bool(session.scalar(select(exists().select_from(MARKS))))
