"""Parameters that several routes share: instants, texts, filters, clip ids."""

from __future__ import annotations

import collections
import datetime as dt
import json
import re
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import Path, Query, Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from app.domain import LABELS, ClipFilter
from app.errors import InvalidParameter, Unavailable
from app.library import Library

MAX_ID = 2**63 - 1
MAX_METADATA_BYTES = 16_384
MAX_METADATA_DEPTH = 32
MAX_CONDITIONS = 50  # values of one request's filters, well below a database's limit


async def library_of(request: Request) -> Library:
    """The open library. Raises Unavailable while the service starts."""
    library: Library | None = request.app.state.library
    if library is None:
        raise Unavailable("The service is starting.")
    return library


def storable(text: str) -> str:
    """Refuses what a database cannot hold: NUL and lone surrogates."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("must be valid Unicode") from exc
    return text


def _utc(instant: dt.datetime) -> dt.datetime:
    try:
        return instant.astimezone(dt.UTC)
    except OverflowError as exc:
        raise ValueError("is outside the years 1 to 9999") from exc


def _iso_8601(text: object) -> object:
    """Refuses bare numbers, which would be taken as seconds since 1970, and naive times."""
    # A + that is not written %2B in a URL arrives as a blank.
    match = isinstance(text, str) and re.fullmatch(
        r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*)(Z|z|[+ -]\d\d(?::?\d\d)?)", text
    )
    if not match:
        raise ValueError("must be ISO 8601 with an offset, as 2024-05-01T12:00:00+02:00")
    offset = match[2].replace(" ", "+").upper()
    return match[1] + (f"{offset}:00" if len(offset) == 3 else offset)


def _label(text: str) -> str:
    if text not in LABELS:
        raise ValueError(f"must be one of {', '.join(LABELS)}")
    return text


def _digits(text: object) -> object:
    if not (isinstance(text, str) and re.fullmatch(r"[0-9]{1,19}", text)):
        raise ValueError("must be a whole number")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(storable)]
Instant = Annotated[AwareDatetime, BeforeValidator(_iso_8601), AfterValidator(_utc)]
ClipId = Annotated[
    Annotated[int, Field(ge=1, le=MAX_ID)],
    BeforeValidator(_digits),
    Path(description="A clip's id."),
]
Label = Annotated[
    str, AfterValidator(_label), WithJsonSchema({"type": "string", "enum": list(LABELS)})
]


def check_metadata(metadata: Any) -> dict[str, Any]:
    """A JSON object that can be stored: at most 16 kB and MAX_METADATA_DEPTH levels.

    Raises:
        InvalidParameter: it is not.
    """
    if not isinstance(metadata, dict):
        raise InvalidParameter("metadata", "must be a JSON object.")
    level: list[Any] = [metadata]
    for _ in range(MAX_METADATA_DEPTH):
        for text in (t for value in level for t in _texts(value)):
            try:
                storable(text)
            except ValueError as exc:
                raise InvalidParameter("metadata", f"a text in it {exc}.") from exc
        level = [part for value in level for part in _parts(value)]
    if level:
        raise InvalidParameter("metadata", f"is nested more than {MAX_METADATA_DEPTH} deep.")
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as exc:
        raise InvalidParameter("metadata", "holds NaN or infinity.") from exc
    if size > MAX_METADATA_BYTES:
        raise InvalidParameter("metadata", f"is {size} bytes, {MAX_METADATA_BYTES} are allowed.")
    return metadata


def _parts(value: Any) -> list[Any]:
    """What is one level below a JSON value."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    return [value] if isinstance(value, str) else []


def parse_metadata(text: str | None) -> dict[str, Any]:
    """The `metadata` form field."""
    if text is None:
        return {}
    try:
        return check_metadata(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter("metadata", "is not JSON.") from exc


class Filters:
    """Reads the filters of a route, and refuses parameters that the route does not have: a
    misspelled filter must not widen a search or a deletion."""

    NAMES = frozenset(
        {"emotion", "min_confidence", "customer_id", "call_id", "agent_id", "tag"}
        | {"since", "until", "file_sha256"}
    )
    REPEATABLE = frozenset({"emotion", "tag"})

    def __init__(self, *others: str, repeatable: Collection[str] = ()) -> None:
        self._repeatable = self.REPEATABLE | set(repeatable)
        self._known = self.NAMES | self._repeatable | set(others)

    async def __call__(
        self,
        request: Request,
        emotion: list[Label] = Query([], description="Any of these (repeatable)."),
        min_confidence: float | None = Query(
            None, ge=0, le=1, description="Score of the clip's emotion, at least."
        ),
        customer_id: Text | None = Query(None),
        call_id: Text | None = Query(None),
        agent_id: Text | None = Query(None),
        tag: list[Text] = Query([], description="All of these (repeatable)."),
        since: Instant | None = Query(
            None,
            description="recorded_at, else the time of storing, at or after this (ISO 8601 with "
            "an offset).",
        ),
        until: Instant | None = Query(None, description="The same, before this."),
        file_sha256: str | None = Query(
            None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the posted file's bytes."
        ),
    ) -> ClipFilter:
        """Besides these, `meta.KEY=VALUE`: equality on a top-level metadata key."""
        given = collections.Counter(name for name, _ in request.query_params.multi_items())
        for name, count in given.items():
            if name not in self._known and not name.startswith("meta."):
                raise InvalidParameter(name[:100], "is not a parameter of this route.")
            if count > 1 and name not in self._repeatable:
                raise InvalidParameter(name, "is given twice.")
        if given.total() > MAX_CONDITIONS:
            raise InvalidParameter("filter", f"at most {MAX_CONDITIONS} values are allowed.")
        return ClipFilter(
            emotions=tuple(emotion),
            min_confidence=min_confidence,
            customer_id=customer_id,
            call_id=call_id,
            agent_id=agent_id,
            tags=tuple(dict.fromkeys(tag)),
            since=since,
            until=until,
            metadata=tuple(
                (_meta(name, name.removeprefix("meta.")), _meta(name, value))
                for name, value in request.query_params.multi_items()
                if name.startswith("meta.")
            ),
            file_sha256=file_sha256,
        )


def _meta(name: str, text: str) -> str:
    try:
        return storable(text)
    except ValueError as exc:
        raise InvalidParameter(name, f"{exc}.") from exc
