"""ClipFilter → SQL conditions; the same for every query that takes a filter."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import ColumnElement, exists

from app.domain import Clip, ClipFilter
from app.store.tables import ClipRow, MetadataRow, TagRow


def conditions(wanted: ClipFilter) -> list[ColumnElement[bool]]:
    """All must hold for a clip to match."""
    found: list[ColumnElement[bool]] = []
    if wanted.emotions:
        found.append(ClipRow.emotion.in_(wanted.emotions))
    if wanted.min_confidence is not None:
        found.append(ClipRow.confidence >= wanted.min_confidence)
    for column, value in (
        (ClipRow.customer_id, wanted.customer_id),
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


def matches(clip: Clip, wanted: ClipFilter) -> bool:
    """The same conditions on a clip that was read, but for metadata: what Postgres gives back is
    not always written as it came, so its digest may be another."""
    fields = clip.fields
    instant = fields.recorded_at or clip.stored_at
    return (
        (not wanted.emotions or clip.emotion in wanted.emotions)
        and (
            wanted.min_confidence is None
            or (clip.confidence is not None and clip.confidence >= wanted.min_confidence)
        )
        and wanted.customer_id in (None, fields.customer_id)
        and wanted.call_id in (None, fields.call_id)
        and wanted.agent_id in (None, fields.agent_id)
        and wanted.file_sha256 in (None, clip.file_sha256)
        and (wanted.since is None or instant >= wanted.since)
        and (wanted.until is None or instant < wanted.until)
        and set(wanted.tags) <= set(fields.tags)
    )


def metadata_digest(key: str, value: str) -> bytes:
    """16 bytes that stand for one `meta.KEY=VALUE`."""
    return hashlib.blake2b(f"{len(key)}:{key}={value}".encode(), digest_size=16).digest()


def metadata_digests(metadata: dict[str, Any]) -> set[bytes]:
    """A digest for each top-level key; a value that is not a string is compared as its JSON."""
    return {
        metadata_digest(key, value if isinstance(value, str) else json.dumps(value))
        for key, value in metadata.items()
    }
