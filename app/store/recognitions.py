"""What other models than the active one make of the clips, and how scores change places.

A clip's own row has its scores by the model that the row names; those by other models are here.
Embeddings are kept by model anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from app.domain import Recognition
from app.store import people_marks
from app.store.embeddings import CHUNK
from app.store.tables import (
    SCORE_COLUMNS,
    Base,
    ClipRow,
    EmbeddingRow,
    ModelRow,
    RecognitionRow,
)

CLIPS, EMBEDDINGS, MODELS, RECOGNITIONS = (
    Base.metadata.tables[row.__tablename__]
    for row in (ClipRow, EmbeddingRow, ModelRow, RecognitionRow)
)
ADD_EMBEDDING, ADD_RECOGNITION = insert(EMBEDDINGS), insert(RECOGNITIONS)
SCORES = ("emotion", "confidence", *SCORE_COLUMNS)  # the columns that change places


def add(session: Session, model: int, heard: Mapping[int, Recognition]) -> None:
    """Store what a model heard in clips, by id, that were stored in this transaction with the
    scores of another."""
    if heard:
        connection = session.connection()
        connection.execute(ADD_EMBEDDING, [_embedding(model, *one) for one in heard.items()])
        connection.execute(ADD_RECOGNITION, [_scores(model, *one) for one in heard.items()])


def add_many(
    session: Session, model: int, clip_ids: Sequence[int], recognitions: Sequence[Recognition]
) -> list[int]:
    """Store what a model heard in up to CHUNK stored clips; where it is the active one by now,
    its scores become their own.

    Clips that were deleted meanwhile, and those that it has embedded already, are left out.

    Returns:
        Ids of the others, ascending.
    """
    assert len(clip_ids) <= CHUNK
    connection = session.connection()
    # Locked: a switch waits for this transaction, or this one sees that it happened.
    role = select(MODELS.c.active).where(MODELS.c.id == model).with_for_update(read=True)
    active = connection.scalar(role)
    # Locked: a deletion that commits in between would leave nothing to refer to.
    rows = connection.execute(
        select(CLIPS.c.id, CLIPS.c.model_id)
        .where(CLIPS.c.id.in_(clip_ids), ~_embedded_by(model))
        .order_by(CLIPS.c.id)
        .with_for_update(read=True, key_share=True)
    )
    scored_by: dict[int, int] = {row.id: row.model_id for row in rows}
    heard = dict(zip(clip_ids, recognitions, strict=True))
    if embedded := [_embedding(model, clip_id, heard[clip_id]) for clip_id in scored_by]:
        connection.execute(ADD_EMBEDDING, embedded)
    # A clip may have its scores already: dropping a model leaves them, not its embeddings.
    if scored := [
        _scores(model, i, heard[i]) for i, scorer in scored_by.items() if scorer != model
    ]:
        connection.execute(ADD_RECOGNITION, scored)
    if active:
        swap(session, model, list(scored_by))
        # Compared before, without an embedding, nothing was found of them.
        again = update(CLIPS).where(CLIPS.c.id.in_(list(scored_by))).values(repeats_by=None)
        connection.execute(again)
    return list(scored_by)


def swap(session: Session, model: int, clip_ids: Sequence[int] | None = None) -> None:
    """Make the scores by a model the clips' own, of all clips that it has heard or of those given.
    What they had is kept here, as what the model heard that their rows named."""
    concerned = [RECOGNITIONS.c.model_id == model]
    if clip_ids is not None:
        concerned.append(RECOGNITIONS.c.clip_id.in_(clip_ids))
    of_clip = RECOGNITIONS.c.clip_id == CLIPS.c.id
    connection = session.connection()
    displaced = select(CLIPS.c.model_id, CLIPS.c.id, *(CLIPS.c[name] for name in SCORES))
    connection.execute(
        insert(RECOGNITIONS).from_select(
            ["model_id", "clip_id", *SCORES], displaced.where(of_clip, *concerned)
        )
    )
    taken = {name: RECOGNITIONS.c[name] for name in SCORES}
    connection.execute(
        update(CLIPS).where(of_clip, *concerned).values({**taken, "model_id": model})
    )
    connection.execute(delete(RECOGNITIONS).where(*concerned))
    if clip_ids is None:
        people_marks.everybody(session)
    else:  # whose they are is read after the update: until the commit nobody else can change it
        people = select(CLIPS.c.customer_id, CLIPS.c.agent_id).where(CLIPS.c.id.in_(clip_ids))
        people_marks.changed(session, connection.execute(people).all())


def missing(session: Session, model: int, after: int, limit: int) -> tuple[list[int], list[str]]:
    """Ids and audio keys of the first `limit` clips beyond id `after` that have kept audio and no
    embedding by a model."""
    rows = session.connection().execute(
        select(CLIPS.c.id, CLIPS.c.audio_key)
        .where(CLIPS.c.id > after, *_is_missing(model))
        .order_by(CLIPS.c.id)
        .limit(limit)
    )
    found = rows.all()
    return [row[0] for row in found], [row[1] for row in found]


def count_missing(session: Session, model: int) -> int:
    """Number of clips that `missing` gives in all."""
    query = select(func.count()).select_from(CLIPS).where(*_is_missing(model))
    return session.scalar(query) or 0


def count_without_audio(session: Session, model: int) -> int:
    """Number of clips that have no embedding by the model and no kept audio to make one of."""
    query = select(func.count()).select_from(CLIPS)
    query = query.where(CLIPS.c.audio_key.is_(None), ~_embedded_by(model))
    return session.connection().scalar(query) or 0


def changed_emotions(session: Session, model: int) -> int:
    """Number of clips in which a model heard another emotion than the one that is their own.
    Clips that have none are not counted."""
    query = (
        select(func.count())
        .select_from(RECOGNITIONS)
        .join(CLIPS, CLIPS.c.id == RECOGNITIONS.c.clip_id)
        .where(RECOGNITIONS.c.model_id == model, RECOGNITIONS.c.emotion != CLIPS.c.emotion)
    )
    return session.scalar(query) or 0


def drop_block(session: Session, model: int, active: int, limit: int) -> int:
    """Delete the embeddings and scores of up to `limit` clips by a model that is not active;
    returns how many clips that were. Clips whose own scores are the model's keep them, and those
    that the active model has not embedded keep their embedding, which is all that there is."""
    clip_ids = session.scalars(_droppable(model, active).limit(limit)).all()
    for table in (EMBEDDINGS, RECOGNITIONS):
        some = table.c.model_id == model, table.c.clip_id.in_(clip_ids)
        session.connection().execute(delete(table).where(*some))
    return len(clip_ids)


def count_droppable(session: Session, model: int, active: int) -> int:
    """Number of clips that `drop_block` takes in all."""
    query = select(func.count()).select_from(_droppable(model, active).subquery())
    return session.connection().scalar(query) or 0


def _droppable(model: int, active: int) -> Select[tuple[int]]:
    other = EMBEDDINGS.alias("other").c
    by_active = exists().where(other.model_id == active, other.clip_id == EMBEDDINGS.c.clip_id)
    return select(EMBEDDINGS.c.clip_id).where(EMBEDDINGS.c.model_id == model, by_active)


def _embedded_by(model: int) -> ColumnElement[bool]:
    return exists().where(EMBEDDINGS.c.model_id == model, EMBEDDINGS.c.clip_id == CLIPS.c.id)


def _is_missing(model: int) -> tuple[ColumnElement[bool], ...]:
    return CLIPS.c.audio_key.is_not(None), ~_embedded_by(model)


def _embedding(model: int, clip_id: int, heard: Recognition) -> dict[str, Any]:
    vector = heard.embedding.astype("<f4").tobytes()
    return {"model_id": model, "clip_id": clip_id, "vector": vector}


def _scores(model: int, clip_id: int, heard: Recognition) -> dict[str, Any]:
    scores = dict(zip(SCORE_COLUMNS, map(float, heard.scores), strict=True))
    said = {"emotion": heard.emotion, "confidence": heard.confidence}
    return {"model_id": model, "clip_id": clip_id, **said, **scores}
