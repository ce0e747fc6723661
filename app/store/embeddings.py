"""Embeddings: what the index is derived from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.domain import Embedding
from app.store.tables import Base, ClipRow, EmbeddingRow

EMBEDDINGS = Base.metadata.tables[EmbeddingRow.__tablename__].c
VECTORS_OF = select(EMBEDDINGS.clip_id, EMBEDDINGS.vector).where(
    EMBEDDINGS.model_id == bindparam("model"),
    EMBEDDINGS.clip_id.in_(bindparam("clips", expanding=True)),
)
PRIME = 46_337  # its square fits 31 bits: a sum of squares does not overflow
LARGE_PRIME = 2**31 - 1  # nor does one of what is left of any id
CHUNK = 500  # ids a query: below every database's limit on bound parameters


def get(session: Session, model: int, clip_ids: Sequence[int]) -> dict[int, Embedding]:
    """The (D,) embeddings by a model of those of the clips, up to CHUNK, that have one."""
    asked = {"model": model, "clips": list(clip_ids)}
    rows = session.connection().execute(VECTORS_OF, asked).all()
    return {clip_id: _vector(blob) for clip_id, blob in rows}


def has(session: Session, model: int, clip_id: int) -> bool:
    """Whether a clip exists and has an embedding by the model."""
    column = Base.metadata.tables[EmbeddingRow.__tablename__].c
    query = select(column.clip_id).where(column.model_id == model, column.clip_id == clip_id)
    return session.connection().scalar(query) is not None


def indexable_ids(session: Session, model: int) -> NDArray[np.int64]:
    """Sorted ids of the clips that should be in the model's index."""
    query = (
        select(EmbeddingRow.clip_id)
        .join(ClipRow, ClipRow.id == EmbeddingRow.clip_id)
        .where(EmbeddingRow.model_id == model, ClipRow.indexable)
        .order_by(EmbeddingRow.clip_id)
    )
    return np.fromiter(session.scalars(query), np.int64)


def fingerprint_of_indexable(session: Session, model: int) -> tuple[int, ...]:
    """`fingerprint` of `indexable_ids`, worked out by the database: reading a million ids holds
    the interpreter for most of a second."""
    clip, rest = EmbeddingRow.clip_id, EmbeddingRow.clip_id % PRIME
    row = session.execute(
        select(func.count(), func.sum(clip % LARGE_PRIME), func.sum(rest * rest))
        .join(ClipRow, ClipRow.id == EmbeddingRow.clip_id)
        .where(EmbeddingRow.model_id == model, ClipRow.indexable)
    ).one()
    return tuple(int(value or 0) for value in row)


def fingerprint(ids: NDArray[np.int64]) -> tuple[int, ...]:
    """Number, sum modulo LARGE_PRIME of each, and sum of the squares modulo PRIME of different
    ids (n,). Two sets that differ by a mishap do not agree in all three."""
    rest = ids % PRIME
    return len(ids), int((ids % LARGE_PRIME).sum()), int((rest * rest).sum())


def count_indexable(session: Session, model: int) -> int:
    """Number of clips that should be in the model's index."""
    return (
        session.scalar(
            select(func.count())
            .select_from(EmbeddingRow)
            .join(ClipRow, ClipRow.id == EmbeddingRow.clip_id)
            .where(EmbeddingRow.model_id == model, ClipRow.indexable)
        )
        or 0
    )


def page(
    session: Session, model: int, after: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (n,) and vectors (n, D) of the first `limit` clips beyond id `after` that should be in
    the model's index."""
    column, clip = Base.metadata.tables[EmbeddingRow.__tablename__].c, ClipRow.__table__.c
    rows = (
        session.connection()
        .execute(
            select(column.clip_id, column.vector)
            .join(ClipRow.__table__, clip.id == column.clip_id)
            .where(column.model_id == model, column.clip_id > after, clip.indexable)
            .order_by(column.clip_id)
            .limit(limit)
        )
        .fetchall()
    )
    if not rows:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    ids = np.array([row[0] for row in rows], np.int64)
    joined = np.frombuffer(b"".join([row[1] for row in rows]), "<f4")
    return ids, joined.reshape(len(ids), -1).astype(np.float32, copy=False)


def stream(
    session: Session, model: int, ids: Sequence[int] | NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """(ids, vectors (n, D)) of those of `ids` that should be in the model's index, chunk by
    chunk."""
    for start in range(0, len(ids), CHUNK):
        wanted = [int(i) for i in ids[start : start + CHUNK]]
        rows = session.execute(
            select(EmbeddingRow.clip_id, EmbeddingRow.vector)
            .join(ClipRow, ClipRow.id == EmbeddingRow.clip_id)
            .where(EmbeddingRow.model_id == model, EmbeddingRow.clip_id.in_(wanted))
            .where(ClipRow.indexable)
            .order_by(EmbeddingRow.clip_id)
        ).all()
        if rows:
            yield (
                np.array([row.clip_id for row in rows], np.int64),
                np.stack([_vector(row.vector) for row in rows]),
            )


def _vector(blob: bytes) -> Embedding:
    return np.frombuffer(blob, "<f4").astype(np.float32)
