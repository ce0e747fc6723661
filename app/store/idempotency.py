"""Answers that are given again when a request is repeated with its Idempotency-Key."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, or_, update
from sqlalchemy.orm import Session

from app.store.tables import IdempotencyRow

LIFETIME = dt.timedelta(hours=24)


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    fingerprint: str
    answer: dict[str, Any] | None  # None once one of its clips was deleted


def recall(session: Session, key: str, now: dt.datetime) -> Remembered | None:
    """What was answered to `key` in the last 24 hours."""
    row = session.get(IdempotencyRow, key)
    if row is None or row.created_at <= now - LIFETIME:
        return None
    return Remembered(row.fingerprint, row.answer)


def remember(
    session: Session,
    key: str,
    fingerprint: str,
    clip_ids: Sequence[int],
    answer: str,
    now: dt.datetime,
) -> None:
    """Keep an answer in the transaction that stores its clips (two ids for a split call).

    Args:
        answer: its JSON; to encode a large one here would keep other writers waiting.
    """
    expire(session, now)
    session.execute(
        insert(IdempotencyRow).values(
            key=key,
            fingerprint=fingerprint,
            created_at=now,
            clip_id=clip_ids[0],
            second_clip_id=clip_ids[1] if len(clip_ids) > 1 else None,
            answer=answer,
        )
    )


def forget_answers(session: Session, clip_ids: Sequence[int]) -> None:
    """Blank the answers that speak of these clips."""
    session.execute(
        update(IdempotencyRow)
        .where(
            or_(
                IdempotencyRow.clip_id.in_(clip_ids),
                IdempotencyRow.second_clip_id.in_(clip_ids),
            )
        )
        .values(answer=None)
    )


def expire(session: Session, now: dt.datetime) -> None:
    """Drop keys older than 24 hours."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at <= now - LIFETIME))
