"""ClipFilter → SQL conditions; the same for every query that takes a filter."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import ColumnElement, String, cast, exists

from app.domain import ClipFilter
from app.store.tables import ClipRow, MetadataRow, TagRow


def conditions(wanted: ClipFilter, *, by_id: bool = False) -> list[ColumnElement[bool]]:
    """All must hold for a clip to match.

    With `by_id`, for a query that names its clips, no index serves any of them: SQLite would
    rather look through all that are sad than at ten by their ids.
    """
    found: list[ColumnElement[bool]] = []
    emotion = cast(ClipRow.emotion, String) if by_id else ClipRow.emotion
    customer_id = cast(ClipRow.customer_id, String) if by_id else ClipRow.customer_id
    if wanted.emotions:
        found.append(emotion.in_(wanted.emotions))
    if wanted.min_confidence is not None:
        found.append(ClipRow.confidence >= wanted.min_confidence)
    for column, value in (
        (customer_id, wanted.customer_id),
        (ClipRow.call_id, wanted.call_id),
        (ClipRow.agent_id, wanted.agent_id),
        (ClipRow.file_sha256, wanted.file_sha256),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.since is not None:
        found.append(ClipRow.at >= wanted.since)
    if wanted.until is not None:
        found.append(ClipRow.at < wanted.until)
    found.extend(
        exists().where(TagRow.clip_id == ClipRow.id, TagRow.tag == tag) for tag in wanted.tags
    )
    found.extend(
        exists().where(
            MetadataRow.clip_id == ClipRow.id, MetadataRow.digest == metadata_digest(key, value)
        )
        for key, value in wanted.metadata
    )
    return found


def metadata_digest(key: str, value: str) -> bytes:
    """16 bytes that stand for one `meta.KEY=VALUE`."""
    return hashlib.blake2b(f"{len(key)}:{key}={value}".encode(), digest_size=16).digest()


def metadata_digests(metadata: dict[str, Any]) -> set[bytes]:
    """A digest for each top-level key; a value that is not a string is compared as its JSON."""
    return {
        metadata_digest(key, value if isinstance(value, str) else json.dumps(value))
        for key, value in metadata.items()
    }
