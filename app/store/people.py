"""Customers and agents: what their clips come to, kept for lists and counted from the clips."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
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
    func,
    insert,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Session

from app.domain import LABELS, NEGATIVE, PersonKind
from app.store.embeddings import CHUNK
from app.store.tables import (
    COUNT_COLUMNS,
    SCORE_COLUMNS,
    Base,
    ClipRow,
    PersonBaselineRow,
    PersonRow,
)

CLIPS, PEOPLE = (Base.metadata.tables[row.__tablename__] for row in (ClipRow, PersonRow))
PERSON_OF = {"customer": CLIPS.c.customer_id, "agent": CLIPS.c.agent_id}
ADD_PERSON = insert(PEOPLE)
# Made once: to put a statement together takes longer than to run it.
_PERSON: BindParameter[str] = bindparam("person")
FIRST, LAST, LATEST = (
    {
        kind: query.where(column == _PERSON, *more).order_by(*order).limit(bindparam("limit"))
        for kind, column in PERSON_OF.items()
    }
    for query, more, order in (
        (select(CLIPS.c.at), (), (CLIPS.c.at,)),
        (select(CLIPS.c.at), (), (CLIPS.c.at.desc(),)),
        (
            select(CLIPS.c.emotion, CLIPS.c.at),
            (CLIPS.c.emotion.is_not(None),),
            (CLIPS.c.at.desc(), CLIPS.c.id.desc()),
        ),
    )
)

Sort = Literal["drift", "negative", "clips", "latest", "id"]
SORTED_BY = {
    "drift": PEOPLE.c.evidence,
    "negative": PEOPLE.c.level,
    "clips": PEOPLE.c.clips,
    "latest": PEOPLE.c.last_at,
}
Counts = Mapping[str | None, int]  # clips by emotion, None where it is not known


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
    """A customer or an agent. `level` is the share of negative clips, drawn to the baseline's."""

    kind: PersonKind
    id: str
    clips: int
    emotions: tuple[int, ...]  # clips of each, in LABELS order; the others' is not known
    first: dt.datetime
    last: dt.datetime
    level: float
    drift: PersonDrift | None  # None where there are too few clips

    @property
    def heard(self) -> int:
        return sum(self.emotions)

    @property
    def negative(self) -> int:
        return negative_of(dict(zip(LABELS, self.emotions, strict=True)))

    def counts(self) -> dict[str | None, int]:
        return {**dict(zip(LABELS, self.emotions, strict=True)), None: self.clips - self.heard}


class Days(NamedTuple):
    """The clips of a person by day in UTC; every column is (d,) in rising order, sums (d, 9)."""

    days: NDArray[np.datetime64]
    clips: NDArray[np.int64]
    heard: NDArray[np.int64]  # clips whose emotion is known
    negative: NDArray[np.int64]  # of those
    scored: NDArray[np.int64]  # clips with scores
    scores: NDArray[np.float64]  # their sums, in LABELS order


def negative_of(counts: Counts) -> int:
    return sum(counts.get(label, 0) for label in NEGATIVE)


def get(session: Session, kind: PersonKind, ids: Sequence[str]) -> dict[str, Person]:
    """As the table has them, by id; those of up to CHUNK ids that it has."""
    query = select(PEOPLE).where(PEOPLE.c.kind == kind, PEOPLE.c.id.in_(ids))
    return {row.id: _person(row) for row in session.connection().execute(query)}


def page(
    session: Session,
    kind: PersonKind,
    sort: Sort,
    limit: int,
    after: tuple[Any, str] | None,
    *,
    least_evidence: float | None = None,
    least_clips: int = 1,
) -> list[Person]:
    """Up to `limit` of them, the largest first; by id, the first one first.

    Args:
        after: what they are sorted by, and the id, of the last one of the page before.
    """
    query = select(PEOPLE).where(PEOPLE.c.kind == kind)
    if sort == "id":
        query = query.order_by(PEOPLE.c.id)
        if after is not None:
            query = query.where(PEOPLE.c.id > after[1])
    else:
        column = SORTED_BY[sort]
        query = query.order_by(column.desc(), PEOPLE.c.id.desc())
        if after is not None:
            query = query.where(tuple_(column, PEOPLE.c.id) < tuple_(*after))
    if least_evidence is not None:
        query = query.where(PEOPLE.c.evidence >= least_evidence)
    if least_clips > 1:
        query = query.where(PEOPLE.c.clips >= least_clips)
    return [_person(row) for row in session.connection().execute(query.limit(limit))]


def replace(
    session: Session, kind: PersonKind, ids: Sequence[str], people: Sequence[Person]
) -> None:
    """Have these of up to CHUNK ids in the table; the others of the ids have no clips."""
    assert len(ids) <= CHUNK
    session.execute(delete(PEOPLE).where(PEOPLE.c.kind == kind, PEOPLE.c.id.in_(ids)))
    if people:
        session.connection().execute(ADD_PERSON, [_columns(person) for person in people])


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
    row = session.execute(
        select(func.count(), func.sum(n), func.sum(n * n), func.sum(s), func.sum(s * s / n)).where(
            PEOPLE.c.kind == kind, PEOPLE.c.heard >= 2
        )
    ).one()
    return (row[0], *(float(value or 0) for value in row[1:]))  # type: ignore[return-value]


def persons(session: Session, kind: PersonKind, after: str | None, limit: int) -> list[str]:
    """Ids of the next ones that have clips, in their order."""
    column = PERSON_OF[kind]
    query = select(column).distinct().where(column.is_not(None)).order_by(column).limit(limit)
    if after is not None:
        query = query.where(column > after)
    return list(session.scalars(query))


def count(session: Session, kind: PersonKind, ids: Sequence[str]) -> dict[str, Counts]:
    """The clips of up to CHUNK persons, as they are; nobody who has none is in it."""
    column = PERSON_OF[kind]
    query = select(column, CLIPS.c.emotion, func.count()).where(column.in_(ids))
    found: dict[str, dict[str | None, int]] = collections.defaultdict(dict)
    for person, emotion, number in session.execute(query.group_by(column, CLIPS.c.emotion)):
        found[person][emotion] = number
    return dict(found)


def bounds(
    session: Session, kind: PersonKind, id: str
) -> tuple[dt.datetime, dt.datetime] | tuple[None, None]:
    """When the first and the last clip of a person were recorded; None, None: there is none."""
    # Two look-ups in the index: a minimum and a maximum in one query would go through all.
    one, connection = {"person": id, "limit": 1}, session.connection()
    first, last = connection.scalar(FIRST[kind], one), connection.scalar(LAST[kind], one)
    return (None, None) if first is None or last is None else (first, last)


def latest(
    session: Session, kind: PersonKind, id: str, limit: int
) -> tuple[NDArray[np.bool_], list[dt.datetime]]:
    """The last (n,) ≤ `limit` clips of a person with a known emotion, in order of time: which are
    negative, and when they were recorded."""
    found = session.connection().execute(LATEST[kind], {"person": id, "limit": limit})
    rows = found.all()[::-1]
    return np.array([row[0] in NEGATIVE for row in rows], bool), [row[1] for row in rows]


def days(session: Session, kind: PersonKind, id: str) -> Days:
    """All clips of a person, as they are."""
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
    numbers = np.array([row[1:5] for row in rows], np.int64).reshape(-1, 4).T
    scores = np.array([row[5:] for row in rows], float).reshape(-1, len(LABELS))
    return Days(np.array([row[0] for row in rows], "datetime64[D]"), *numbers, np.nan_to_num(scores))


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
        emotions=tuple(getattr(row, name) for name in COUNT_COLUMNS),
        first=row.first_at,
        last=row.last_at,
        level=row.level,
        drift=drift,
    )


def _columns(person: Person) -> dict[str, Any]:
    drift = person.drift
    return {
        "kind": person.kind,
        "id": person.id,
        "clips": person.clips,
        "heard": person.heard,
        "negative": person.negative,
        **dict(zip(COUNT_COLUMNS, person.emotions, strict=True)),
        "first_at": person.first,
        "last_at": person.last,
        "level": person.level,
        "evidence": 0.0 if drift is None else drift.evidence,
        **{
            name: None if drift is None else getattr(drift, name)
            for name in ("before", "since", "clips_before", "clips_since", "changed_at")
        },
    }
