"""Customers and agents: what their clips come to, kept for lists and read from the clips."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Float,
    String,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Session

from app.domain import LABELS, NEGATIVE, PersonKind
from app.store.analysis_tables import PersonBaselineRow, PersonRow
from app.store.embeddings import CHUNK
from app.store.tables import SCORE_COLUMNS, Base, ClipRow

CLIPS, PEOPLE = (Base.metadata.tables[row.__tablename__] for row in (ClipRow, PersonRow))
PERSON_OF = {"customer": CLIPS.c.customer_id, "agent": CLIPS.c.agent_id}
ADD_PERSON = insert(PEOPLE)
# Made once: to put a statement together takes longer than to run it.
_PERSON: BindParameter[str] = bindparam("person")
SPAN = {
    kind: select(func.count(), func.min(CLIPS.c.at), func.max(CLIPS.c.at)).where(column == _PERSON)
    for kind, column in PERSON_OF.items()
}
LATEST = {
    kind: select(CLIPS.c.emotion, CLIPS.c.at)
    .where(column == _PERSON)
    .order_by(CLIPS.c.at.desc(), CLIPS.c.id.desc())
    .limit(bindparam("limit"))
    for kind, column in PERSON_OF.items()
}

Sort = Literal["drift", "negative", "clips"]
SORTED_BY = {"drift": PEOPLE.c.evidence, "negative": PEOPLE.c.level, "clips": PEOPLE.c.clips}


@dataclasses.dataclass(frozen=True, slots=True)
class PersonDrift:
    """As app.analysis.drift.Drift."""

    evidence: float
    before: float
    since: float
    clips_before: int
    clips_since: int
    changed_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """A customer or an agent."""

    kind: PersonKind
    id: str
    clips: int
    first: dt.datetime
    last: dt.datetime
    heard: int  # of the latest drift.HISTORY clips, those whose emotion is known
    negative: int  # of those
    level: float  # the share of negative ones, drawn to the baseline's
    drift: PersonDrift | None  # None where there are too few clips


class Days(NamedTuple):
    """The clips of a person by day in UTC; every column is (d,) in rising order, sums (d, 9)."""

    days: NDArray[np.datetime64]
    clips: NDArray[np.int64]
    heard: NDArray[np.int64]  # clips whose emotion is known
    negative: NDArray[np.int64]  # of those
    scored: NDArray[np.int64]  # clips with scores
    scores: NDArray[np.float64]  # their sums, in LABELS order


def page(
    session: Session,
    kind: PersonKind,
    sort: Sort,
    limit: int,
    after: tuple[float, str] | None = None,
    least_evidence: float = 0.0,
) -> list[Person]:
    """Up to `limit` of them as the table has them, the largest first.

    Args:
        after: what they are sorted by, and the id, of the last one of the page before.
    """
    column = SORTED_BY[sort]
    query = select(PEOPLE).where(PEOPLE.c.kind == kind)
    if after is not None:
        query = query.where(tuple_(column, PEOPLE.c.id) < tuple_(*after))
    if least_evidence > 0:
        query = query.where(PEOPLE.c.evidence >= least_evidence)
    query = query.order_by(column.desc(), PEOPLE.c.id.desc()).limit(limit)
    return [_person(row) for row in session.connection().execute(query)]


def replace(
    session: Session, kind: PersonKind, ids: Sequence[str], people: Sequence[Person]
) -> None:
    """Have these of up to CHUNK ids in the table; the others of the ids have no clips."""
    assert len(ids) <= CHUNK
    session.execute(delete(PEOPLE).where(PEOPLE.c.kind == kind, PEOPLE.c.id.in_(ids)))
    if people:
        session.connection().execute(ADD_PERSON, [_columns(person) for person in people])


def forget_gone(session: Session, kind: PersonKind, ids: Sequence[str]) -> None:
    """Have none of up to CHUNK ids in the table that have no clips."""
    assert len(ids) <= CHUNK
    if ids:
        clips = exists().where(PERSON_OF[kind] == PEOPLE.c.id)
        those = delete(PEOPLE).where(PEOPLE.c.kind == kind, PEOPLE.c.id.in_(ids), ~clips)
        session.connection().execute(those)


def baseline(session: Session, kind: PersonKind) -> tuple[float, float] | None:
    """Mean and concentration that the table was worked out with, if any."""
    row = session.get(PersonBaselineRow, kind)
    return None if row is None else (row.mean, row.concentration)


def set_baseline(session: Session, kind: PersonKind, mean: float, concentration: float) -> None:
    session.merge(PersonBaselineRow(kind=kind, mean=mean, concentration=concentration))


def sums(session: Session, kind: PersonKind) -> tuple[int, float, float, float, float]:
    """Of those with two heard clips or more, n of them heard and s of those negative each: how
    many they are, Σ n, Σ n², Σ s, Σ s² / n."""
    n, s = cast(PEOPLE.c.heard, Float(53)), cast(PEOPLE.c.negative, Float(53))
    number, *found = session.execute(
        select(func.count(), func.sum(n), func.sum(n * n), func.sum(s), func.sum(s * s / n)).where(
            PEOPLE.c.kind == kind, PEOPLE.c.heard >= 2
        )
    ).one()
    heard, heard_squared, negative, negative_squared = (float(value or 0) for value in found)
    return number, heard, heard_squared, negative, negative_squared


def persons(session: Session, kind: PersonKind, after: str | None, limit: int) -> list[str]:
    """Ids of the next ones that have clips, in the database's order."""
    column = PERSON_OF[kind]
    query = select(column).distinct().where(column.is_not(None)).order_by(column).limit(limit)
    if after is not None:
        query = query.where(column > after)
    return list(session.scalars(query))


def span(
    session: Session, kind: PersonKind, id: str
) -> tuple[int, dt.datetime, dt.datetime] | None:
    """Number of a person's clips, and when the first and the last were recorded; None without
    clips."""
    number, first, last = session.connection().execute(SPAN[kind], {"person": id}).one()
    return (number, first, last) if number else None


def latest(
    session: Session, kind: PersonKind, id: str, limit: int
) -> tuple[NDArray[np.bool_], list[dt.datetime]]:
    """Of the last `limit` clips of a person those (n,) whose emotion is known, in order of time:
    which are negative, and when they were recorded."""
    found = session.connection().execute(LATEST[kind], {"person": id, "limit": limit})
    rows = [(emotion, at) for emotion, at in found if emotion is not None][::-1]
    return np.array([row[0] in NEGATIVE for row in rows], bool), [row[1] for row in rows]


def days(session: Session, kind: PersonKind, id: str) -> Days:
    """All clips of a person."""
    day = _utc_day(session).label("day")
    negative = func.sum(case((CLIPS.c.emotion.in_(NEGATIVE), 1), else_=0))
    scored = CLIPS.c[SCORE_COLUMNS[0]]
    query = (
        select(
            *(day, func.count(), func.count(CLIPS.c.emotion), negative, func.count(scored)),
            *(func.sum(CLIPS.c[name]) for name in SCORE_COLUMNS),
        )
        .where(PERSON_OF[kind] == id)
        .group_by(day)
        .order_by(day)
    )
    rows = session.execute(query).all()
    clips, heard, bad, with_scores = np.array([row[1:5] for row in rows], np.int64).reshape(-1, 4).T
    scores = np.array([row[5:] for row in rows], float).reshape(-1, len(LABELS))
    return Days(
        days=np.array([row[0] for row in rows], "datetime64[D]"),
        clips=clips,
        heard=heard,
        negative=bad,
        scored=with_scores,
        scores=np.nan_to_num(scores),
    )


def _utc_day(session: Session) -> ColumnElement[str]:
    """As `2024-05-01`."""
    if session.get_bind().dialect.name == "sqlite":  # which keeps instants as UTC text
        return func.substr(type_coerce(CLIPS.c.at, String), 1, 10, type_=String)
    return func.to_char(func.timezone("UTC", CLIPS.c.at), "YYYY-MM-DD", type_=String)


def _person(row: Any) -> Person:
    drift = None
    if row.clips_since is not None:
        drift = PersonDrift(
            evidence=row.evidence,
            before=row.before,
            since=row.since,
            clips_before=row.clips_before,
            clips_since=row.clips_since,
            changed_at=row.changed_at,
        )
    return Person(
        kind=row.kind,
        id=row.id,
        clips=row.clips,
        first=row.first_at,
        last=row.last_at,
        heard=row.heard,
        negative=row.negative,
        level=row.level,
        drift=drift,
    )


def _columns(person: Person) -> dict[str, Any]:
    drift = person.drift
    return {
        "kind": person.kind,
        "id": person.id,
        "clips": person.clips,
        "first_at": person.first,
        "last_at": person.last,
        "heard": person.heard,
        "negative": person.negative,
        "level": person.level,
        "evidence": 0.0 if drift is None else drift.evidence,
        **{
            name: None if drift is None else getattr(drift, name)
            for name in ("before", "since", "clips_before", "clips_since", "changed_at")
        },
    }
