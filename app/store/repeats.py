"""What tells repeat complaints: customers, times and scores of clips; and the pairs found."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.store.duplicates import CHUNK, CLIPS, PAIRS, FoundPair, alive, chunks
from app.store.tables import SCORE_COLUMNS

KIND = "repeat_complaint"
EARLIEST, LATEST = (end.replace(tzinfo=dt.UTC) for end in (dt.datetime.min, dt.datetime.max))
FACTS = (
    *(CLIPS.c[name] for name in ("id", "customer_id", "call_id", "at", "indexable")),
    *(CLIPS.c[name] for name in ("file_sha256", "audio_sha256")),
    *(CLIPS.c[name] for name in SCORE_COLUMNS),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    clip_id: int
    customer_id: str | None
    call_id: str | None
    at: dt.datetime
    indexable: bool
    hashes: frozenset[str]  # of its bytes and of its samples
    scores: tuple[float, ...] | None


def not_compared(session: Session, after: int, limit: int) -> list[int]:
    """Clips beyond `after`, ascending, whose repeats were not looked for yet."""
    column = CLIPS.c
    query = select(column.id).where(column.repeats_by.is_(None), column.id > after)
    return list(session.connection().scalars(query.order_by(column.id).limit(limit)))


def is_compared(session: Session, clip_id: int, by: int) -> bool:
    query = select(CLIPS.c.repeats_by).where(CLIPS.c.id == clip_id)
    return session.connection().scalar(query) == by


def span(session: Session) -> int:
    """From the lowest to the highest id of a clip: about how many there are, at no cost."""
    column = CLIPS.c.id
    lowest, highest = (
        session.connection().scalar(select(of(column))) for of in (func.min, func.max)
    )
    return 0 if lowest is None or highest is None else highest - lowest + 1


def outdate(session: Session, by: int, limit: int) -> int:
    """Have repeats looked for again where others than these thresholds were used; returns how
    many clips that is, `limit` at most."""
    column = CLIPS.c.repeats_by
    old = select(CLIPS.c.id).where(or_(column < by, column > by)).limit(limit)
    some = list(session.connection().scalars(old))
    _mark(session, some, None)
    return len(some)


def facts(session: Session, clip_ids: Collection[int]) -> dict[int, Facts]:
    """Of those of the clips that exist."""
    found: dict[int, Facts] = {}
    for some in chunks(clip_ids):
        found |= _facts(session, CLIPS.c.id.in_(some))
    return found


def of_customer(
    session: Session, one: Facts, window: dt.timedelta, each_way: int
) -> dict[int, Facts]:
    """The other clips of its customer that are the nearest before it and after it, so that of two
    clips each has the other or none has."""
    if one.customer_id is None:
        return {}
    column, found = CLIPS.c, dict[int, Facts]()
    first = one.at - min(window, one.at - EARLIEST)
    last = one.at + min(window, LATEST - one.at)
    its = (column.customer_id == one.customer_id) & column.at.between(first, last)
    at_once = column.at == one.at
    before = its & ((column.at < one.at) | (at_once & (column.id < one.clip_id)))
    after = its & ((column.at > one.at) | (at_once & (column.id > one.clip_id)))
    found |= _facts(session, before, (column.at.desc(), column.id.desc()), each_way)
    found |= _facts(session, after, (column.at, column.id), each_way)
    return found


def copies(session: Session, clip_ids: Collection[int]) -> dict[int, set[int]]:
    """Each of the clips with those that were found to be the same recording, itself too."""
    found = {clip_id: {clip_id} for clip_id in clip_ids}
    for some in chunks(clip_ids):
        involved = or_(PAIRS.c.low_id.in_(some), PAIRS.c.high_id.in_(some))
        query = select(PAIRS.c.low_id, PAIRS.c.high_id)
        query = query.where(PAIRS.c.kind == "same_recording", involved)
        for low, high in session.connection().execute(query):
            for one, other in ((low, high), (high, low)):
                if one in found:
                    found[one].add(other)
    return found


def replace(
    session: Session, by: int, compared: Iterable[Facts], pairs: Sequence[FoundPair]
) -> bool:
    """Store what was found of clips, in place of what was found of them before, and mark them.

    Clips that are no longer what they were are left for the next time. Returns whether anything
    is different now.
    """
    before = {one.clip_id: one for one in compared}
    exist = alive(session, {*before, *(clip_id for pair in pairs for clip_id in pair[:2])})
    now = facts(session, exist.intersection(before))
    standing = {clip_id for clip_id, one in now.items() if one == before[clip_id]}
    old = dict[tuple[int, int], float]()
    for some in chunks(standing):
        involved = or_(PAIRS.c.low_id.in_(some), PAIRS.c.high_id.in_(some))
        columns = (PAIRS.c.low_id, PAIRS.c.high_id, PAIRS.c.similarity)
        rows = session.connection().execute(select(*columns).where(PAIRS.c.kind == KIND, involved))
        old |= {(row.low_id, row.high_id): row.similarity for row in rows}
    new = {one[:2]: one for one in pairs if not standing.isdisjoint(one[:2])}
    new = {pair: one for pair, one in new.items() if exist.issuperset(pair)}
    stale = {pair for pair in old if pair not in new or new[pair].similarity != old[pair]}
    if stale:
        ends = PAIRS.c.low_id == bindparam("one"), PAIRS.c.high_id == bindparam("other")
        gone = [{"one": low, "other": high} for low, high in sorted(stale)]
        session.connection().execute(delete(PAIRS).where(*ends, PAIRS.c.kind == KIND), gone)
    added = [one._asdict() for pair, one in sorted(new.items()) if pair in stale or pair not in old]
    if added:
        session.connection().execute(insert(PAIRS), added)
    _mark(session, sorted(standing), by)
    return bool(added or stale)


def _mark(session: Session, clip_ids: Sequence[int], by: int | None) -> None:
    for some in chunks(clip_ids):
        changed = update(CLIPS).where(CLIPS.c.id.in_(some)).values(repeats_by=by)
        session.connection().execute(changed)


def _facts(
    session: Session,
    where: ColumnElement[bool],
    order: Sequence[ColumnElement[Any]] = (),
    limit: int = CHUNK,
) -> dict[int, Facts]:
    query = select(*FACTS).where(where).order_by(*order).limit(limit)
    return {row.id: _of(row) for row in session.connection().execute(query)}


def _of(row: Row[Any]) -> Facts:
    scores = tuple(row[-len(SCORE_COLUMNS) :])
    return Facts(
        clip_id=row.id,
        customer_id=row.customer_id,
        call_id=row.call_id,
        at=row.at,
        indexable=row.indexable,
        hashes=frozenset({row.file_sha256, row.audio_sha256} - {None}),
        scores=None if None in scores else scores,
    )
