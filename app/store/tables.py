"""The tables. The database is the truth; everything else is derived from it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domain import LABELS

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements INTEGER keys only
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[dt.datetime]):
    """Aware datetimes, kept in UTC. SQLite has no time zones, so there it is naive UTC text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        utc = value.astimezone(dt.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        aware: dt.datetime = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value
        return aware.astimezone(dt.UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ModelRow(Base):
    """A model that has embedded clips here. One of them at most is active; one other at most is
    beside: new clips are recognised by it too, and it can take the active one's place."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(500))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    dimension: Mapped[int]
    bundled: Mapped[bool]
    active: Mapped[bool]
    beside: Mapped[bool] = mapped_column(server_default=false(), default=False)
    prior_mean: Mapped[bytes] = mapped_column(LargeBinary)  # float32 (D,), little-endian


class ScoreColumns:
    """What a model heard; null where an import did not bring it."""

    emotion: Mapped[str | None] = mapped_column(String(9))
    confidence: Mapped[float | None] = mapped_column(Float(53))
    score_angry: Mapped[float | None] = mapped_column(Float(53))
    score_disgusted: Mapped[float | None] = mapped_column(Float(53))
    score_fearful: Mapped[float | None] = mapped_column(Float(53))
    score_happy: Mapped[float | None] = mapped_column(Float(53))
    score_neutral: Mapped[float | None] = mapped_column(Float(53))
    score_other: Mapped[float | None] = mapped_column(Float(53))
    score_sad: Mapped[float | None] = mapped_column(Float(53))
    score_surprised: Mapped[float | None] = mapped_column(Float(53))
    score_unknown: Mapped[float | None] = mapped_column(Float(53))


SCORE_COLUMNS = tuple(f"score_{label}" for label in LABELS)


class ClipRow(ScoreColumns, Base):
    """A stored recording: file facts, what the caller said of it, and its scores.

    File facts and scores are null where an import did not bring them.
    """

    __tablename__ = "clips"
    # Ids are never reused, also after the highest one was deleted.
    __table_args__ = (
        Index("ix_clips_customer_id_at", "customer_id", "at"),
        Index("ix_clips_agent_id_at", "agent_id", "at"),
        Index("ix_clips_emotion_confidence", "emotion", "confidence"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    stored_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    recorded_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)  # recorded, else stored
    duration: Mapped[float | None] = mapped_column(Float(53))
    channel: Mapped[str] = mapped_column(String(5))
    container: Mapped[str | None] = mapped_column(String(20))
    codec: Mapped[str | None] = mapped_column(String(40))
    sample_rate: Mapped[int | None]
    channels: Mapped[int | None]
    file_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    audio_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    customer_id: Mapped[str | None] = mapped_column(String(200))
    call_id: Mapped[str | None] = mapped_column(String(200), index=True)
    agent_id: Mapped[str | None] = mapped_column(String(200))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    indexable: Mapped[bool]
    audio_key: Mapped[str | None] = mapped_column(String(40), unique=True)
    result_dir: Mapped[str | None] = mapped_column(Text)
    warnings: Mapped[list[str]] = mapped_column(Json)
    # A digest of the model and thresholds that repeat complaints were looked for by; null: not yet.
    repeats_by: Mapped[int | None] = mapped_column(BigInteger, index=True)


class TagRow(Base):
    __tablename__ = "clip_tags"
    __table_args__ = (Index("ix_clip_tags_tag_clip_id", "tag", "clip_id"),)

    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(200), primary_key=True)


class MetadataRow(Base):
    """One row a top-level metadata key, as a digest of key and value: all that equality needs,
    and short enough for an index whatever the value's length."""

    __tablename__ = "clip_metadata"
    __table_args__ = (Index("ix_clip_metadata_digest_clip_id", "digest", "clip_id"),)

    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)


class EmbeddingRow(Base):
    """The utterance embedding as the model gave it."""

    __tablename__ = "embeddings"

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # float32 (D,), little-endian


class RecognitionRow(ScoreColumns, Base):
    """The scores of a clip by a model that its row does not have the scores of."""

    __tablename__ = "recognitions"

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class ImportRow(Base):
    """A file of vectors or a result directory that is being or was imported: `done` changes in
    the transaction that stores the rows, so that none is stored twice."""

    __tablename__ = "imports"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of what is imported
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    done: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    # Of a result directory: with its clip it is forgotten, and may be imported anew.
    clip_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), index=True
    )


class ReindexRow(Base):
    """A new build of the index that somebody asked for, or a change of the models that clips are
    embedded by: one at most is under way."""

    __tablename__ = "reindexes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    model: Mapped[str | None] = mapped_column(String(500))  # an id or a directory
    state: Mapped[str] = mapped_column(String(10))
    done: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    message: Mapped[str | None] = mapped_column(Text)
    summary: Mapped[dict[str, Any] | None] = mapped_column(Json)


class DatabaseRow(Base):
    """One row: what tells this database from every other, its restored copies aside."""

    __tablename__ = "database"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class DoomedFilesRow(Base):
    """A deleted clip, and its files while they are not removed yet: written with the deletion.

    The row stays, so that an import cannot give the id to another clip: an index restored from
    before the deletion would take the old vector for the new clip's.
    """

    __tablename__ = "doomed_files"

    clip_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    audio_key: Mapped[str | None] = mapped_column(String(40))
    result_dir: Mapped[str | None] = mapped_column(Text)


class IdempotencyRow(Base):
    """A request that was answered, and its answer. Clip ids stay when the clips are deleted,
    so that a repeat is told so; the answer does not."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)
    clip_id: Mapped[int] = mapped_column(Id, index=True)
    second_clip_id: Mapped[int | None] = mapped_column(Id, index=True)  # of a split call
    answer: Mapped[dict[str, Any] | None] = mapped_column(Json)
