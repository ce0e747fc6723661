"""Clips that come with their embeddings, many at once, and how far each import has come."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain import ClipFields, GivenScores, ModelInfo
from app.store import people_marks
from app.store.clips import ADD_CLIP, ADD_EMBEDDING, field_columns, write_keys
from app.store.models import as_info
from app.store.tables import SCORE_COLUMNS, ImportRow, ModelRow


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How much of an import is stored. `clip_id` is the clip of a result directory."""

    rows: int
    done: int
    clip_id: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class AudioFacts:
    """What is known of the audio that came along."""

    duration: float  # seconds
    container: str
    codec: str
    sample_rate: int
    channels: int
    file_sha256: str
    audio_sha256: str
    audio_key: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ImportedClip:
    """What is said of a clip that was recognised elsewhere."""

    fields: ClipFields = dataclasses.field(default_factory=ClipFields)
    heard: GivenScores = dataclasses.field(default_factory=GivenScores)
    audio: AudioFacts | None = None


UNKNOWN_AUDIO: dict[str, Any] = {field.name: None for field in dataclasses.fields(AudioFacts)}
UNKNOWN_SCORES: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS)


def progress(session: Session, key: str, model_id: int, *, lock: bool = False) -> Progress | None:
    """How far an import has come; with `lock` nobody else changes it before the commit."""
    query = select(ImportRow).where(ImportRow.key == key, ImportRow.model_id == model_id)
    row = session.scalar(query.with_for_update() if lock else query)
    return None if row is None else Progress(row.rows, row.done, row.clip_id)


def models_of(session: Session, key: str) -> list[tuple[int, ModelInfo]]:
    """Row ids of the models whose space an import was begun into, the newest first."""
    query = (
        select(ModelRow)
        .join(ImportRow, ImportRow.model_id == ModelRow.id)
        .where(ImportRow.key == key)
        .order_by(ImportRow.started_at.desc())
    )
    return [(row.id, as_info(row)) for row in session.scalars(query)]


def clip_of(session: Session, key: str) -> int | None:
    """The clip that a result directory was imported as, whichever model was the active one."""
    return session.scalar(
        select(ImportRow.clip_id).where(ImportRow.key == key, ImportRow.clip_id.is_not(None))
    )


def begin(
    session: Session,
    key: str,
    model_id: int,
    rows: int,
    now: dt.datetime,
    *,
    done: int = 0,
    clip_id: int | None = None,
) -> None:
    """Note a new import."""
    session.add(
        ImportRow(key=key, model_id=model_id, rows=rows, done=done, started_at=now, clip_id=clip_id)
    )
    session.flush()


def advance(session: Session, key: str, model_id: int, done: int) -> None:
    """Note that the first `done` rows are stored, in the transaction that stores them."""
    session.get_one(ImportRow, (key, model_id)).done = done
    session.flush()


def forget(session: Session, key: str, model_id: int) -> bool:
    """What was imported stays, but would be stored once more. False: there was no such import."""
    row = delete(ImportRow).where(ImportRow.key == key, ImportRow.model_id == model_id)
    return session.scalar(row.returning(ImportRow.key)) is not None


def add(
    session: Session,
    model_id: int,
    ids: NDArray[np.int64],
    imported: Sequence[ImportedClip],
    vectors: NDArray[np.float32] | None,
    stored_at: dt.datetime,
) -> None:
    """Store clips under ids that are free.

    Args:
        ids: (n,), as the clips.
        vectors: (n, D), or None for clips without embeddings, which are never indexed.
    """
    connection = session.connection()
    connection.execute(
        ADD_CLIP,
        [
            {
                "id": clip_id,
                "model_id": model_id,
                "stored_at": stored_at,
                "channel": "mix",
                "indexable": vectors is not None,
                "result_dir": None,
                "warnings": [],
                "emotion": one.heard.emotion,
                "confidence": one.heard.confidence,
                **_score_columns(one.heard),
                **(UNKNOWN_AUDIO if one.audio is None else dataclasses.asdict(one.audio)),
                **field_columns(one.fields, stored_at),
            }
            for clip_id, one in zip(ids.tolist(), imported, strict=True)
        ],
    )
    write_keys(
        session,
        {clip_id: one.fields for clip_id, one in zip(ids.tolist(), imported, strict=True)},
    )
    people_marks.changed(session, [people_marks.of_clip(one.fields) for one in imported])
    if vectors is not None:
        little_endian = vectors.astype("<f4", copy=False)
        connection.execute(
            ADD_EMBEDDING,
            [
                {"model_id": model_id, "clip_id": clip_id, "vector": vector.tobytes()}
                for clip_id, vector in zip(ids.tolist(), little_endian, strict=True)
            ],
        )


def _score_columns(heard: GivenScores) -> dict[str, Any]:
    if heard.scores is None:
        return UNKNOWN_SCORES
    return dict(zip(SCORE_COLUMNS, heard.scores, strict=True))
