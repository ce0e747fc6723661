"""Fingerprints of recordings, duplicates that were found, and what was decided of pairs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain import Channel, Clip, DuplicateKind
from app.store.analysis_tables import DuplicateDecisionRow, DuplicatePairRow, FingerprintRow
from app.store.tables import Base, ClipRow, EmbeddingRow

Decision = Literal["confirm", "dismiss"]
Ids = NDArray[np.int64]
Pair = tuple[int, int]  # two clips, the lower id first

CHUNK = 500  # ids in one statement
KINDS: tuple[DuplicateKind, ...] = get_args(DuplicateKind)

EMBEDDINGS = Base.metadata.tables[EmbeddingRow.__tablename__]
FINGERPRINTS = Base.metadata.tables[FingerprintRow.__tablename__]
PAIRS = Base.metadata.tables[DuplicatePairRow.__tablename__]
DECISIONS = Base.metadata.tables[DuplicateDecisionRow.__tablename__]
CLIPS = Base.metadata.tables[ClipRow.__tablename__]


class FoundPair(NamedTuple):
    low_id: int
    high_id: int
    kind: DuplicateKind
    similarity: float


class FileFacts(NamedTuple):
    """Of the file of a clip; null where an import did not bring them."""

    codec: str | None
    sample_rate: int | None
    duration: float | None
    channel: Channel
    file_sha256: str | None
    audio_sha256: str | None

    def hashes(self) -> list[tuple[str, ...]]:
        """Clips that have one in common are of the same file."""
        of_bytes = () if self.file_sha256 is None else (("bytes", self.file_sha256, self.channel),)
        of_samples = () if self.audio_sha256 is None else (("samples", self.audio_sha256),)
        return [*of_bytes, *of_samples]


class Duplicate(NamedTuple):
    """Another clip that is one of a clip, or was said to be."""

    clip_id: int
    kind: DuplicateKind | None  # None: nothing was found, somebody confirmed it
    similarity: float | None
    decision: Decision | None


def add_fingerprint(
    session: Session, model: int, clip_id: int, packed: bytes, descriptor: NDArray[np.float32]
) -> None:
    """Of a clip that is yet to be compared with those committed beside it. `model` is the row of
    the descriptors (D,), which are kept as embeddings are."""
    connection = session.connection()
    row = {"clip_id": clip_id, "packed": packed, "compared": False}
    connection.execute(insert(FINGERPRINTS), row)
    vector = descriptor.astype("<f4").tobytes()
    row = {"model_id": model, "clip_id": clip_id, "vector": vector}
    connection.execute(insert(EMBEDDINGS), row)


def fingerprints(session: Session, clip_ids: Sequence[int]) -> dict[int, bytes]:
    """Those of the clips that have one, by id."""
    column, found = FINGERPRINTS.c, dict[int, bytes]()
    for some in chunks(clip_ids):
        query = select(column.clip_id, column.packed).where(column.clip_id.in_(some))
        rows = session.connection().execute(query)
        found |= {row.clip_id: row.packed for row in rows}
    return found


def not_compared(session: Session, limit: int) -> list[int]:
    """Clips that are yet to be compared with those committed beside them, oldest first."""
    column = FINGERPRINTS.c
    query = select(column.clip_id).where(column.compared.is_(False))
    return list(session.connection().scalars(query.order_by(column.clip_id).limit(limit)))


def set_compared(session: Session, clip_ids: Sequence[int]) -> None:
    column = FINGERPRINTS.c
    for some in chunks(clip_ids):
        compared = update(FINGERPRINTS).where(column.clip_id.in_(some)).values(compared=True)
        session.connection().execute(compared)


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


def is_missing(session: Session, clip_id: int) -> bool:
    """Whether a clip has no fingerprint and exists; it is held to the commit."""
    known = session.scalar(select(FingerprintRow.clip_id).where(FingerprintRow.clip_id == clip_id))
    return known is None and bool(alive(session, [clip_id]))


def add_pairs(session: Session, pairs: Iterable[FoundPair]) -> list[FoundPair]:
    """Store copies that are not there yet; returns those of the given whose clips both exist.

    A copy of a clip is no repeat complaint of it, so that both are to be looked at again.
    """
    wanted = {one[:3]: one for one in pairs}
    there = alive(session, {clip_id for low, high, _ in wanted for clip_id in (low, high)})
    standing = {key: one for key, one in wanted.items() if there.issuperset(key[:2])}
    column, known = PAIRS.c, set[tuple[int, int, str]]()
    for some in chunks({high for _, high, _ in standing}):
        known.update(
            (row.low_id, row.high_id, row.kind)
            for row in session.connection().execute(select(PAIRS).where(column.high_id.in_(some)))
        )
    if new := [one._asdict() for key, one in sorted(standing.items()) if key not in known]:
        # Somebody else may have found them at the same time.
        statement = _insert(session)(PAIRS).on_conflict_do_nothing()
        session.connection().execute(statement, new)
        _look_again(
            session, {clip_id for one in new for clip_id in (one["low_id"], one["high_id"])}
        )
    return list(standing.values())


def lowest_copy(session: Session, clip_id: int) -> int | None:
    """The lowest clip that is the same recording, or is of one that is, unless it is this clip
    itself or was said to be none."""
    column, further = PAIRS.c, PAIRS.alias().c
    copies = select(column.low_id).where(
        column.high_id == clip_id,
        column.kind == "same_recording",
        ~_dismissed(column.low_id, clip_id),
    )
    # Of a clip with very many copies only some are compared with it.
    theirs = select(further.low_id).where(
        further.high_id.in_(copies),
        further.kind == "same_recording",
        ~_dismissed(further.low_id, further.high_id),
        ~_dismissed(further.low_id, clip_id),
    )
    found = union(copies, theirs).subquery()
    lowest: int | None = session.connection().scalar(select(func.min(found.c.low_id)))
    return lowest


def first_of(session: Session, clip: Clip) -> tuple[int, DuplicateKind] | None:
    """The lowest clip that is the same file as this one, or the same recording, unless it is this
    one itself or was said to be none."""
    column = ClipRow.__table__.c
    file = session.connection().scalar(
        select(func.min(column.id)).where(
            _same_file(clip.file_sha256, clip.audio_sha256, clip.channel),
            column.id < clip.id,
            ~_dismissed(column.id, clip.id),
        )
    )
    recording = lowest_copy(session, clip.id)
    if file is not None and (recording is None or file <= recording):
        return file, "same_file"
    return None if recording is None else (recording, "same_recording")


def of_clip(
    session: Session, clip: Clip, limit: int, repeats: Sequence[FoundPair] | None
) -> list[Duplicate]:
    """The first clips, by id, that are duplicates of one, or were said to be or not to be; of each
    the surest kind that was found. Repeat complaints are those given, or else those stored."""
    same = _same_file(clip.file_sha256, clip.audio_sha256, clip.channel)
    files = session.scalars(
        select(ClipRow.id).where(same, ClipRow.id != clip.id).order_by(ClipRow.id).limit(limit)
    )
    decided: dict[int, Decision] = {}
    for row in session.connection().execute(select(DECISIONS).where(_of(DECISIONS, clip.id))):
        decided[_other(row, clip.id)] = row.decision
    found = {other: Duplicate(other, None, None, None) for other in decided}
    rows = session.connection().execute(select(PAIRS).where(_of(PAIRS, clip.id)))
    pairs = [FoundPair(*row) for row in rows]
    if repeats is not None:
        pairs = [*(pair for pair in pairs if pair.kind != "repeat_complaint"), *repeats]
    for pair in sorted(pairs, key=lambda its: -_rank(its.kind)):
        other = _other(pair, clip.id)
        found[other] = Duplicate(other, pair.kind, pair.similarity, None)
    found |= {other: Duplicate(other, "same_file", 1.0, None) for other in files}
    return [
        one._replace(decision=decided.get(other)) for other, one in sorted(found.items())[:limit]
    ]


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
        same = and_(*(one == several.c[one.name] for one in columns))
        rows = session.execute(
            select(*columns, ClipRow.id).join(several, same).order_by(*columns, ClipRow.id)
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


def all_pairs(session: Session, kinds: Collection[DuplicateKind]) -> list[Pair]:
    """Those of these kinds that were found, the surest first: by kind, then by similarity."""
    column = PAIRS.c
    rank = case({kind: number for number, kind in enumerate(KINDS)}, value=column.kind)
    query = select(column.low_id, column.high_id).where(column.kind.in_(kinds))
    ordered = query.order_by(rank, column.similarity.desc(), column.low_id, column.high_id)
    return [(low, high) for low, high in session.connection().execute(ordered)]


def all_decisions(session: Session) -> dict[Pair, Decision]:
    rows = session.connection().execute(select(DECISIONS).order_by(*DECISIONS.primary_key))
    return {(row.low_id, row.high_id): row.decision for row in rows}


def pairs_among(session: Session, clip_ids: Collection[int]) -> list[FoundPair]:
    """Those that were found of which both clips are among these."""
    found = list[FoundPair]()
    for some in chunks(clip_ids):
        rows = session.connection().execute(select(PAIRS).where(PAIRS.c.low_id.in_(some)))
        found += [FoundPair(*row) for row in rows if row.high_id in clip_ids]
    return found


def file_facts(session: Session, clip_ids: Collection[int]) -> dict[int, FileFacts]:
    """Of those of the clips that exist, by rising id."""
    found: dict[int, FileFacts] = {}
    for some in chunks(clip_ids):
        columns = (getattr(ClipRow, name) for name in FileFacts._fields)
        query = select(ClipRow.id, *columns).where(ClipRow.id.in_(some)).order_by(ClipRow.id)
        found |= {clip_id: FileFacts(*facts) for clip_id, *facts in session.execute(query)}
    return found


def decide(
    session: Session, pairs: Collection[Pair], decision: Decision | None, now: dt.datetime
) -> list[int]:
    """Say of pairs that they are duplicates, are none, or (None) take back what was said.

    Returns the clips named that do not exist; if there are any, nothing is changed.
    """
    wanted = sorted({(min(pair), max(pair)) for pair in pairs})
    named = {clip_id for pair in wanted for clip_id in pair}
    if missing := named - alive(session, named):
        return sorted(missing)
    if decision is None:
        ends = {"one": DECISIONS.c.low_id, "other": DECISIONS.c.high_id}
        named_ones = and_(*(column == bindparam(name) for name, column in ends.items()))
        rows = [dict(zip(ends, pair, strict=True)) for pair in wanted]
        session.connection().execute(delete(DECISIONS).where(named_ones), rows)
        return []
    statement = _insert(session)(DECISIONS)
    said = {name: statement.excluded[name] for name in ("decision", "decided_at")}
    session.connection().execute(
        statement.on_conflict_do_update(index_elements=DECISIONS.primary_key, set_=said),
        [
            {"low_id": low, "high_id": high, "decision": decision, "decided_at": now}
            for low, high in wanted
        ],
    )
    return []


def alive(session: Session, clip_ids: Collection[int]) -> set[int]:
    """Those of the clips that exist. They are held to the commit: a deletion that came between
    would leave something said of no clip."""
    found: set[int] = set()
    for some in chunks(clip_ids):
        query = select(ClipRow.id).where(ClipRow.id.in_(some)).order_by(ClipRow.id)
        found.update(session.scalars(query.with_for_update(read=True, key_share=True)))
    return found


def chunks(clip_ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(clip_ids)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


def _insert(session: Session) -> Any:
    """With ON CONFLICT, which both databases have."""
    of = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return of[session.connection().dialect.name]


def _look_again(session: Session, clip_ids: Collection[int]) -> None:
    for some in chunks(clip_ids):
        these = CLIPS.c.id.in_(some)
        ordered = select(CLIPS.c.id).where(these).order_by(CLIPS.c.id)
        session.connection().execute(ordered.with_for_update(key_share=True)).all()
        session.connection().execute(update(CLIPS).where(these).values(repeats_by=None))


def _same_file(
    file_sha256: str | None, audio_sha256: str | None, channel: Channel
) -> ColumnElement[bool]:
    """Two unknown hashes are not the same."""
    same_bytes = and_(ClipRow.file_sha256 == file_sha256, ClipRow.channel == channel)
    return or_(
        false() if file_sha256 is None else same_bytes,
        false() if audio_sha256 is None else ClipRow.audio_sha256 == audio_sha256,
    )


def _dismissed(low: ColumnElement[int], high: int | ColumnElement[int]) -> ColumnElement[bool]:
    column = DECISIONS.c
    return exists().where(
        column.low_id == low, column.high_id == high, column.decision == "dismiss"
    )


def _of(table: FromClause, clip_id: int) -> ColumnElement[bool]:
    return or_(table.c.low_id == clip_id, table.c.high_id == clip_id)


def _other(pair: Row[Any] | FoundPair, clip_id: int) -> int:
    other: int = pair.high_id if pair.low_id == clip_id else pair.low_id
    return other


def _rank(kind: DuplicateKind | None) -> int:
    return len(KINDS) if kind is None else KINDS.index(kind)
