"""What is shown of a clip that was found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.orm import Session

from app.domain import ClipFilter
from app.store.filters import conditions
from app.store.tables import Base, ClipRow, TagRow

CLIPS = Base.metadata.tables[ClipRow.__tablename__].c
TAGS = Base.metadata.tables[TagRow.__tablename__].c
CHUNK = 500  # ids a query: below every database's limit on bound parameters
_IDS: BindParameter[list[int]] = bindparam("ids", expanding=True)


class ClipSummary(NamedTuple):
    """The fields that a search tells of a clip; what is unknown is None."""

    id: int
    emotion: str | None
    confidence: float | None
    customer_id: str | None
    call_id: str | None
    agent_id: str | None
    recorded_at: dt.datetime | None
    duration: float | None  # seconds
    tags: tuple[str, ...]


SUMMARIES: Select[Any] = select(
    *(CLIPS[name] for name in ClipSummary._fields if name != "tags")
).where(CLIPS.id.in_(_IDS))
TAGS_OF = select(TAGS.clip_id, TAGS.tag).where(TAGS.clip_id.in_(_IDS)).order_by(TAGS.tag)


def of(
    session: Session, clip_ids: Sequence[int], wanted: ClipFilter | None = None
) -> dict[int, ClipSummary]:
    """Those of the clips that exist, and match if a filter is given, by id."""
    query = SUMMARIES.where(*conditions(wanted, by_id=True)) if wanted else SUMMARIES
    connection = session.connection()
    found: dict[int, ClipSummary] = {}
    for start in range(0, len(clip_ids), CHUNK):
        some = {"ids": list(clip_ids[start : start + CHUNK])}
        tags: dict[int, tuple[str, ...]] = {}
        for clip_id, tag in connection.execute(TAGS_OF, some).all():
            tags[clip_id] = (*tags.get(clip_id, ()), tag)
        for row in connection.execute(query, some).all():
            found[row[0]] = ClipSummary._make((*row, tags.get(row[0], ())))
    return found
