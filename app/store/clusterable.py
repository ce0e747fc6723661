"""What clips are grouped by, read page by page: embeddings, and what else is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, case, select
from sqlalchemy.orm import Session

from app.domain import LABELS, ClipFilter
from app.store.embeddings import CHUNK
from app.store.filterable import utc_text
from app.store.filters import conditions
from app.store.tables import SCORE_COLUMNS, Base, ClipRow, EmbeddingRow, RecognitionRow

CLIPS, EMBEDDINGS, RECOGNITIONS = (
    Base.metadata.tables[row.__tablename__] for row in (ClipRow, EmbeddingRow, RecognitionRow)
)
ONE_OF_CUSTOMER, ONE_OF_AGENT = (
    select(CLIPS.c.id).where(column == bindparam("who")).limit(1)
    for column in (CLIPS.c.customer_id, CLIPS.c.agent_id)
)
EMOTION_PLACES: dict[str | None, int] = {
    None: -1,
    **{label: place for place, label in enumerate(LABELS)},
}


class Clusterable(NamedTuple):
    """n clips by rising id, as one model hears them; every column is (n,) or (n, …)."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]  # (n, D)
    scores: NDArray[np.float32]  # (n, 9) in LABELS order; NaN where an import brought none
    emotions: NDArray[np.int8]  # places in LABELS, or -1
    confidences: NDArray[np.float32]  # NaN where there is none
    instants: NDArray[np.int64]  # recorded_at, else stored_at, in microseconds since 1970 UTC
    customers: Sequence[str | None]
    agents: Sequence[str | None]

    def at(self, rows: NDArray[np.intp]) -> Clusterable:
        """Some of the clips."""
        return Clusterable(
            self.ids[rows],
            self.vectors[rows],
            self.scores[rows],
            self.emotions[rows],
            self.confidences[rows],
            self.instants[rows],
            [self.customers[row] for row in rows.tolist()],
            [self.agents[row] for row in rows.tolist()],
        )


def ids(session: Session, model: int, wanted: ClipFilter) -> NDArray[np.int64]:
    """(n,) of the clips that match and should be in the model's index, ascending."""
    query = (
        select(EmbeddingRow.clip_id)
        .join(ClipRow, ClipRow.id == EmbeddingRow.clip_id)
        .where(EmbeddingRow.model_id == model, ClipRow.indexable, *conditions(wanted))
        .order_by(EmbeddingRow.clip_id)
    )
    return np.fromiter(session.scalars(query.execution_options(yield_per=CHUNK)), np.int64)


def page(session: Session, model: int, clip_ids: NDArray[np.int64]) -> Clusterable | None:
    """Those of up to CHUNK clips that the model has embedded; None where there are none. Scores are
    the model's, whichever is the active one by now."""
    assert len(clip_ids) <= CHUNK
    names = ("emotion", "confidence", *SCORE_COLUMNS)
    own = CLIPS.c.model_id == model
    heard = (case((own, CLIPS.c[name]), else_=RECOGNITIONS.c[name]) for name in names)
    query = (
        select(
            CLIPS.c.id,
            EMBEDDINGS.c.vector,
            utc_text(session, CLIPS.c.at),
            CLIPS.c.customer_id,
            CLIPS.c.agent_id,
            *heard,
        )
        .join(CLIPS, CLIPS.c.id == EMBEDDINGS.c.clip_id)
        .outerjoin(
            RECOGNITIONS,
            (RECOGNITIONS.c.clip_id == CLIPS.c.id) & (RECOGNITIONS.c.model_id == model),
        )
        .where(EMBEDDINGS.c.model_id == model, EMBEDDINGS.c.clip_id.in_(clip_ids.tolist()))
        .order_by(CLIPS.c.id)
    )
    rows = session.connection().execute(query).all()
    if not rows:
        return None
    joined = np.frombuffer(b"".join([row[1] for row in rows]), "<f4")
    return Clusterable(
        ids=np.array([row[0] for row in rows], np.int64),
        vectors=joined.reshape(len(rows), -1).astype(np.float32, copy=False),
        scores=np.array([row[7:] for row in rows], np.float32),
        emotions=np.array([EMOTION_PLACES[row[5]] for row in rows], np.int8),
        confidences=np.array([row[6] for row in rows], np.float32),
        instants=np.array([row[2] for row in rows], "datetime64[us]").astype(np.int64),
        customers=[row[3] for row in rows],
        agents=[row[4] for row in rows],
    )


def people_left(
    session: Session, customers: Sequence[str], agents: Sequence[str]
) -> tuple[set[str], set[str]]:
    """Those of some customers and agents that have clips."""
    connection = session.connection()
    # One by one: a query for all of them would go through all of an agent's clips.
    return (
        {who for who in set(customers) if connection.scalar(ONE_OF_CUSTOMER, {"who": who})},
        {who for who in set(agents) if connection.scalar(ONE_OF_AGENT, {"who": who})},
    )


def live(session: Session, clip_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) which of the clips exist."""
    found: list[int] = []
    for start in range(0, len(clip_ids), CHUNK):
        some = clip_ids[start : start + CHUNK].tolist()
        found.extend(session.connection().scalars(select(CLIPS.c.id).where(CLIPS.c.id.in_(some))))
    return np.isin(clip_ids, np.array(found, np.int64))
