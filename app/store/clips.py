"""Clips: stored, found, changed, deleted."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BindParameter, Row, bindparam, delete, func, insert, or_, select
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Session

from app.domain import (
    Channel,
    Clip,
    ClipFields,
    ClipFilter,
    DuplicateKind,
    Embedding,
    ModelInfo,
    Recognition,
)
from app.store import idempotency, people_marks
from app.store.embeddings import CHUNK
from app.store.filters import conditions, metadata_digests
from app.store.tables import (
    SCORE_COLUMNS,
    Base,
    ClipRow,
    DoomedFilesRow,
    EmbeddingRow,
    MetadataRow,
    ModelRow,
    TagRow,
)

CLIPS, MODELS, EMBEDDINGS, TAGS, METADATA = (
    Base.metadata.tables[row.__tablename__]
    for row in (ClipRow, ModelRow, EmbeddingRow, TagRow, MetadataRow)
)
CLIP_COLUMNS = (
    *("id", "stored_at", "recorded_at", "duration", "channel", "emotion", "confidence"),
    *("customer_id", "call_id", "agent_id", "metadata", "indexable"),
    *("file_sha256", "audio_sha256", "result_dir", "audio_key"),
)
# Made once: to put a statement together takes longer than to run it.
ADD_CLIP, ADD_EMBEDDING = insert(CLIPS), insert(EMBEDDINGS)
SAME_FILE = select(func.min(CLIPS.c.id)).where(
    or_(
        CLIPS.c.audio_sha256 == bindparam("audio"),
        (CLIPS.c.file_sha256 == bindparam("file")) & (CLIPS.c.channel == bindparam("heard")),
    )
)
_IDS: BindParameter[list[int]] = bindparam("ids", expanding=True)
TAGS_OF = select(TAGS.c.clip_id, TAGS.c.tag).where(TAGS.c.clip_id.in_(_IDS)).order_by(TAGS.c.tag)
CLIPS_OF = (
    select(
        *(CLIPS.c[name] for name in CLIP_COLUMNS),
        *(MODELS.c[name] for name in ("name", "digest", "dimension", "bundled")),
        *(CLIPS.c[name] for name in SCORE_COLUMNS),
    )
    .join(MODELS, MODELS.c.id == CLIPS.c.model_id)
    .where(CLIPS.c.id.in_(_IDS))
)
FACETS = {
    "emotion": ClipRow.emotion,
    "customer_id": ClipRow.customer_id,
    "call_id": ClipRow.call_id,
    "agent_id": ClipRow.agent_id,
    "channel": ClipRow.channel,
}


@dataclasses.dataclass(frozen=True, slots=True)
class NewClip:
    """All that is stored of one recording."""

    model_id: int  # row id of the model
    recognition: Recognition
    fields: ClipFields
    stored_at: dt.datetime
    duration: float  # seconds
    channel: Channel
    container: str
    codec: str
    sample_rate: int
    channels: int
    file_sha256: str
    audio_sha256: str
    indexable: bool
    audio_key: str | None
    result_dir: str | None
    warnings: tuple[str, ...]


def add(session: Session, new: NewClip) -> int:
    """Store a clip with its scores and embedding; returns its id."""
    # Inserted into the tables: the unit of work takes longer than the database does.
    values: dict[str, Any] = dict(
        model_id=new.model_id,
        stored_at=new.stored_at,
        duration=new.duration,
        channel=new.channel,
        container=new.container,
        codec=new.codec,
        sample_rate=new.sample_rate,
        channels=new.channels,
        file_sha256=new.file_sha256,
        audio_sha256=new.audio_sha256,
        indexable=new.indexable,
        emotion=new.recognition.emotion,
        confidence=new.recognition.confidence,
        audio_key=new.audio_key,
        result_dir=new.result_dir,
        warnings=list(new.warnings),
        **dict(zip(SCORE_COLUMNS, map(float, new.recognition.scores), strict=True)),
        **field_columns(new.fields, new.stored_at),
    )
    connection = session.connection()
    inserted = connection.execute(ADD_CLIP, values).inserted_primary_key
    assert inserted is not None
    clip_id: int = inserted[0]
    write_keys(session, {clip_id: new.fields})
    people_marks.changed(session, [people_marks.of_clip(new.fields)])
    connection.execute(
        ADD_EMBEDDING,
        {
            "model_id": new.model_id,
            "clip_id": clip_id,
            "vector": _blob(new.recognition.embedding),
        },
    )
    return clip_id


def get(session: Session, clip_id: int) -> Clip | None:
    return get_many(session, [clip_id]).get(clip_id)


def get_many(session: Session, clip_ids: Sequence[int]) -> dict[int, Clip]:
    """Those of the clips that exist, by id."""
    found: dict[int, Clip] = {}
    connection = session.connection()
    for chunk in _chunks(clip_ids):
        some = {"ids": list(chunk)}
        tags: dict[int, list[str]] = {}
        for clip_id, tag in connection.execute(TAGS_OF, some):
            tags.setdefault(clip_id, []).append(tag)
        for row in connection.execute(CLIPS_OF, some):
            found[row.id] = _clip(row, tuple(tags.get(row.id, ())))
    return found


def page(session: Session, wanted: ClipFilter, limit: int, before: int | None) -> list[Clip]:
    """Up to `limit` clips that match, newest first, with ids below `before`."""
    query = select(ClipRow.id).where(*conditions(wanted)).order_by(ClipRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ClipRow.id < before)
    ids = list(session.scalars(query))
    found = get_many(session, ids)
    return [found[clip_id] for clip_id in ids if clip_id in found]


def count(session: Session, wanted: ClipFilter) -> int:
    query = select(func.count()).select_from(ClipRow).where(*conditions(wanted))
    return session.scalar(query) or 0


def any_stored(session: Session) -> bool:
    return session.scalar(select(ClipRow.id).limit(1)) is not None


def facet(
    session: Session, name: str, wanted: ClipFilter, limit: int
) -> list[tuple[str | None, int]]:
    """(value, number of matching clips), most frequent first. `name` is `tag` or in FACETS."""
    number = func.count().label("number")
    if name == "tag":
        value: Any = TagRow.tag
        query = select(value, number).join(ClipRow, ClipRow.id == TagRow.clip_id)
    else:
        value = FACETS[name]
        query = select(value, number).select_from(ClipRow)
    query = query.where(*conditions(wanted)).group_by(value)
    rows = session.execute(query.order_by(number.desc(), value).limit(limit))
    return [(row[0], row[1]) for row in rows]


def matching_ids(session: Session, wanted: ClipFilter, *, lock: bool = False) -> NDArray[np.int64]:
    """Sorted ids of the clips that match; with `lock` they go on matching to the commit."""
    query = select(ClipRow.id).where(*conditions(wanted)).order_by(ClipRow.id)
    if lock:
        query = query.with_for_update()
    return np.fromiter(session.scalars(query), np.int64)


def is_stored(session: Session, result_dir: str) -> bool:
    """Whether a clip with this result directory was committed."""
    query = select(func.count()).where(ClipRow.result_dir == result_dir)
    return bool(session.scalar(query))


def same_file(
    session: Session, file_sha256: str | None, audio_sha256: str | None, channel: Channel
) -> tuple[int, DuplicateKind] | None:
    """The lowest live clip with the same bytes (heard on the same channel) or samples."""
    clip_id = session.connection().scalar(
        SAME_FILE, {"audio": audio_sha256, "file": file_sha256, "heard": channel}
    )
    return None if clip_id is None else (clip_id, "same_file")


def get_locked(session: Session, clip_id: int) -> Clip | None:
    """A clip that nobody else changes before this transaction ends."""
    session.execute(select(ClipRow.id).where(ClipRow.id == clip_id).with_for_update())
    return get(session, clip_id)


def update(session: Session, clip_id: int, fields: ClipFields) -> None:
    """Replace what the caller said of a stored clip."""
    said = select(ClipRow.stored_at, ClipRow.customer_id, ClipRow.agent_id)
    query = said.where(ClipRow.id == clip_id).with_for_update()
    stored_at, *before = session.execute(query).one()
    changes = sql_update(CLIPS).where(ClipRow.id == clip_id)
    columns = field_columns(fields, stored_at) | {"repeats_by": None}
    session.connection().execute(changes.values(columns))
    people_marks.changed(session, [before, people_marks.of_clip(fields)])
    people_marks.forget_gone(session, [before])
    session.execute(delete(TagRow).where(TagRow.clip_id == clip_id))
    session.execute(delete(MetadataRow).where(MetadataRow.clip_id == clip_id))
    write_keys(session, {clip_id: fields})


@dataclasses.dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted clip's files, still to be removed."""

    clip_id: int
    audio_key: str | None
    result_dir: str | None


def remove(session: Session, clip_ids: Sequence[int] | NDArray[np.int64]) -> list[Deleted]:
    """Delete clips, their embeddings, tags and remembered answers.

    Their files are noted as doomed until `files_removed`.
    """
    removed: list[Deleted] = []
    for chunk in _chunks([int(i) for i in clip_ids]):
        # Locked in one order: another deletion of the same clips waits, and then finds none.
        rows = session.execute(
            select(
                *(ClipRow.id, ClipRow.audio_key, ClipRow.result_dir),
                *(ClipRow.customer_id, ClipRow.agent_id),
            )
            .where(ClipRow.id.in_(chunk))
            .order_by(ClipRow.id)
            .with_for_update()
        ).all()
        gone = [Deleted(*row[:3]) for row in rows]
        session.add_all(
            DoomedFilesRow(clip_id=one.clip_id, audio_key=one.audio_key, result_dir=one.result_dir)
            for one in gone
        )
        removed.extend(gone)
        idempotency.forget_answers(session, chunk)
        session.execute(delete(ClipRow).where(ClipRow.id.in_([one.clip_id for one in gone])))
        people_marks.changed(session, [row[3:] for row in rows])
        people_marks.forget_gone(session, [row[3:] for row in rows])
    return removed


def doomed(session: Session) -> list[Deleted]:
    """Deleted clips whose files may still be there."""
    there = or_(DoomedFilesRow.audio_key.is_not(None), DoomedFilesRow.result_dir.is_not(None))
    return [
        Deleted(row.clip_id, row.audio_key, row.result_dir)
        for row in session.scalars(select(DoomedFilesRow).where(there))
    ]


def files_removed(session: Session, clip_ids: Sequence[int]) -> None:
    """The files of these deleted clips are gone; their ids stay taken."""
    for chunk in _chunks(clip_ids):
        gone = sql_update(DoomedFilesRow).where(DoomedFilesRow.clip_id.in_(chunk))
        session.execute(gone.values(audio_key=None, result_dir=None))


def committed_keys(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of the audio keys that belong to a stored clip."""
    found: set[str] = set()
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        rows = session.scalars(select(ClipRow.audio_key).where(ClipRow.audio_key.in_(chunk)))
        found.update(key for key in rows if key is not None)
    return found


def field_columns(fields: ClipFields, stored_at: dt.datetime) -> dict[str, Any]:
    """Columns of the table `clips`."""
    return {
        "customer_id": fields.customer_id,
        "call_id": fields.call_id,
        "agent_id": fields.agent_id,
        "recorded_at": fields.recorded_at,
        "at": fields.recorded_at or stored_at,
        "metadata": fields.metadata,
    }


def write_keys(session: Session, fields: Mapping[int, ClipFields]) -> None:
    """The tags and metadata digests of new clips, by id."""
    connection = session.connection()
    if tags := [{"clip_id": i, "tag": tag} for i, one in fields.items() for tag in set(one.tags)]:
        connection.execute(insert(TAGS), tags)
    if keys := [
        {"clip_id": i, "digest": digest}
        for i, one in fields.items()
        for digest in metadata_digests(one.metadata)
    ]:
        connection.execute(insert(METADATA), keys)


def _clip(row: Row[Any], tags: tuple[str, ...]) -> Clip:
    scores = tuple(row[-len(SCORE_COLUMNS) :])
    return Clip(
        id=row.id,
        stored_at=row.stored_at,
        duration=row.duration,
        channel=row.channel,
        scores=None if None in scores else scores,
        emotion=row.emotion,
        confidence=row.confidence,
        fields=ClipFields(
            customer_id=row.customer_id,
            call_id=row.call_id,
            agent_id=row.agent_id,
            recorded_at=row.recorded_at,
            tags=tags,
            metadata=row.metadata,
        ),
        file_sha256=row.file_sha256,
        audio_sha256=row.audio_sha256,
        indexable=row.indexable,
        model=ModelInfo(row.name, row.digest, row.dimension, row.bundled),
        result_dir=row.result_dir,
        audio_key=row.audio_key,
    )


def _blob(embedding: Embedding) -> bytes:
    return embedding.astype("<f4").tobytes()


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
