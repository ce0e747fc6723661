"""Fingerprints of recordings, pairs of clips found to be duplicates, and what was decided of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.domain import DuplicateKind
from app.store.tables import (
    Base,
    ClipRow,
    DuplicateDecisionRow,
    DuplicatePairRow,
    FingerprintRow,
)

Decision = Literal["confirm", "dismiss"]
Ids = NDArray[np.int64]
Pair = tuple[int, int]  # two clips, the lower id first

CHUNK = 500  # ids in one statement
KINDS: tuple[DuplicateKind, ...] = get_args(DuplicateKind)

FINGERPRINTS = Base.metadata.tables[FingerprintRow.__tablename__]
PAIRS = Base.metadata.tables[DuplicatePairRow.__tablename__]
DECISIONS = Base.metadata.tables[DuplicateDecisionRow.__tablename__]


class FoundPair(NamedTuple):
    low_id: int
    high_id: int
    kind: DuplicateKind
    similarity: float


class Duplicate(NamedTuple):
    """Another clip that is one of a clip, or was said to be."""

    clip_id: int
    kind: DuplicateKind | None  # None: nothing was found, somebody confirmed it
    similarity: float | None
    decision: Decision | None


def add_fingerprint(session: Session, clip_id: int, packed: bytes) -> None:
    """Of a clip that is yet to be compared with those committed beside it."""
    session.connection().execute(
        insert(FINGERPRINTS), {"clip_id": clip_id, "packed": packed, "compared": False}
    )


def fingerprints(session: Session, clip_ids: Sequence[int]) -> dict[int, bytes]:
    """Those of the clips that have one, by id."""
    column, found = FINGERPRINTS.c, dict[int, bytes]()
    for start in range(0, len(clip_ids), CHUNK):
        some = column.clip_id.in_(clip_ids[start : start + CHUNK])
        rows = session.connection().execute(select(column.clip_id, column.packed).where(some))
        found |= {clip_id: packed for clip_id, packed in rows}
    return found


def not_compared(session: Session, limit: int) -> list[int]:
    """Clips that are yet to be compared with those committed beside them, oldest first."""
    column = FINGERPRINTS.c
    query = select(column.clip_id).where(column.compared.is_(False))
    return list(session.connection().scalars(query.order_by(column.clip_id).limit(limit)))


def set_compared(session: Session, clip_ids: Sequence[int]) -> None:
    column = FINGERPRINTS.c
    for start in range(0, len(clip_ids), CHUNK):
        some = column.clip_id.in_(clip_ids[start : start + CHUNK])
        session.connection().execute(update(FINGERPRINTS).where(some).values(compared=True))


def without_fingerprint(session: Session, after: int, limit: int) -> list[tuple[int, str]]:
    """Ids beyond `after`, ascending, of clips whose audio is kept, and its key."""
    query = (
        select(ClipRow.id, ClipRow.audio_key)
        .outerjoin(FingerprintRow, FingerprintRow.clip_id == ClipRow.id)
        .where(ClipRow.id > after, ClipRow.audio_key.is_not(None))
        .where(FingerprintRow.clip_id.is_(None))
        .order_by(ClipRow.id)
        .limit(limit)
    )
    return [(clip_id, key) for clip_id, key in session.execute(query) if key is not None]


def add_pairs(session: Session, pairs: Iterable[FoundPair]) -> int:
    """Store pairs of clips that both exist and are not there yet; returns how many."""
    wanted = {(one.low_id, one.high_id, one.kind): one for one in pairs}
    if not wanted:
        return 0
    ids = sorted({clip_id for key in wanted for clip_id in key[:2]})
    alive: set[int] = set()
    for start in range(0, len(ids), CHUNK):
        some = ClipRow.id.in_(ids[start : start + CHUNK])
        # Held to the commit: a deletion that comes between would leave a pair of no clip.
        alive.update(session.scalars(select(ClipRow.id).where(some).with_for_update(read=True)))
    column = PAIRS.c
    for start in range(0, len(ids), CHUNK):
        some = column.high_id.in_(ids[start : start + CHUNK])
        for row in session.connection().execute(
            select(column.low_id, column.high_id, column.kind).where(some)
        ):
            wanted.pop(tuple(row), None)
    new = [one._asdict() for one in wanted.values() if {one.low_id, one.high_id} <= alive]
    if new:
        session.connection().execute(insert(PAIRS), new)
    return len(new)


def of_clip(session: Session, clip_id: int) -> list[Duplicate]:
    """What was found or decided of a clip, by the other's id, the surest kind first. Clips of
    one hash are not told of here."""
    found: dict[tuple[int, DuplicateKind], float] = {}
    for row in session.connection().execute(select(PAIRS).where(_of(PAIRS.c, clip_id))):
        found[_other(row, clip_id), row.kind] = row.similarity
    decided: dict[int, Decision] = {}
    for row in session.connection().execute(select(DECISIONS).where(_of(DECISIONS.c, clip_id))):
        decided[_other(row, clip_id)] = row.decision
    pairs = [Duplicate(i, kind, its, decided.get(i)) for (i, kind), its in found.items()]
    known = {one.clip_id for one in pairs}
    pairs += [Duplicate(i, None, None, its) for i, its in decided.items() if i not in known]
    return sorted(pairs, key=lambda one: (one.clip_id, _rank(one.kind)))


def same_files(session: Session, clip_id: int) -> list[int]:
    """Other clips with the same bytes (heard on the same channel) or the same samples."""
    clip = session.execute(
        select(ClipRow.file_sha256, ClipRow.audio_sha256, ClipRow.channel).where(
            ClipRow.id == clip_id
        )
    ).one_or_none()
    if clip is None:
        return []
    same_bytes = (ClipRow.file_sha256 == clip.file_sha256) & (ClipRow.channel == clip.channel)
    same = or_(same_bytes, ClipRow.audio_sha256 == clip.audio_sha256)
    return list(
        session.scalars(select(ClipRow.id).where(same, ClipRow.id != clip_id).order_by(ClipRow.id))
    )


def all_same_files(session: Session) -> Iterator[list[int]]:
    """Every set of clips of one hash, ids ascending; a clip may be in two of them."""
    for columns in ((ClipRow.audio_sha256,), (ClipRow.file_sha256, ClipRow.channel)):
        several = (
            select(*columns)
            .where(columns[0].is_not(None))
            .group_by(*columns)
            .having(func.count() > 1)
            .subquery()
        )
        same = [one == several.c[one.name] for one in columns]
        rows = session.execute(
            select(*columns, ClipRow.id).join(several, *same).order_by(*columns, ClipRow.id)
        )
        last, together = None, list[int]()
        for *key, clip_id in rows:
            if key != last and together:
                yield together
                together = []
            last = key
            together.append(clip_id)
        if together:
            yield together


def all_pairs(session: Session) -> list[FoundPair]:
    """Those that were found, the surest first: by kind, then by similarity."""
    rows = session.connection().execute(select(PAIRS))
    pairs = [FoundPair(*row) for row in rows]
    return sorted(pairs, key=lambda one: (_rank(one.kind), -one.similarity, one[:2]))


def all_decisions(session: Session) -> dict[Pair, Decision]:
    rows = session.connection().execute(select(DECISIONS).order_by(*DECISIONS.primary_key))
    return {(row.low_id, row.high_id): row.decision for row in rows}


def decide(
    session: Session, pairs: Collection[Pair], decision: Decision | None, now: dt.datetime
) -> list[int]:
    """Say of pairs that they are duplicates, are none, or (None) take back what was said.

    Returns the clips named that do not exist; if there are any, nothing is changed.
    """
    wanted = sorted({(min(pair), max(pair)) for pair in pairs})
    ids = sorted({clip_id for pair in wanted for clip_id in pair})
    alive: set[int] = set()
    for start in range(0, len(ids), CHUNK):
        some = ClipRow.id.in_(ids[start : start + CHUNK])
        alive.update(session.scalars(select(ClipRow.id).where(some).with_for_update(read=True)))
    if missing := [clip_id for clip_id in ids if clip_id not in alive]:
        return missing
    column, connection = DECISIONS.c, session.connection()
    for low, high in wanted:
        connection.execute(delete(DECISIONS).where(column.low_id == low, column.high_id == high))
    if decision is not None:
        connection.execute(
            insert(DECISIONS),
            [
                {"low_id": low, "high_id": high, "decision": decision, "decided_at": now}
                for low, high in wanted
            ],
        )
    return []


def _of(column, clip_id: int):  # type: ignore[no-untyped-def]
    return or_(column.low_id == clip_id, column.high_id == clip_id)


def _other(row, clip_id: int) -> int:  # type: ignore[no-untyped-def]
    return row.high_id if row.low_id == clip_id else row.low_id


def _rank(kind: DuplicateKind | None) -> int:
    return len(KINDS) if kind is None else KINDS.index(kind)
