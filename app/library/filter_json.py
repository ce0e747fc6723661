"""A filter as JSON, under the names of the query parameters: kept with what it was given for."""

from __future__ import annotations

import datetime as dt
from typing import Any

from app.domain import ClipFilter

META = "meta."
PLAIN = ("min_confidence", "customer_id", "call_id", "agent_id", "file_sha256")
INSTANTS = ("since", "until")
SEVERAL = {"emotion": "emotions", "tag": "tags"}


def to_json(wanted: ClipFilter) -> dict[str, Any]:
    """What is not given is left out."""
    told: dict[str, Any] = {
        name: list(getattr(wanted, field))
        for name, field in SEVERAL.items()
        if getattr(wanted, field)
    }
    told |= {name: getattr(wanted, name) for name in PLAIN if getattr(wanted, name) is not None}
    for name in INSTANTS:
        if (instant := getattr(wanted, name)) is not None:
            told[name] = instant.isoformat()
    return told | {META + key: value for key, value in wanted.metadata}


def from_json(told: dict[str, Any]) -> ClipFilter:
    """What `to_json` was given."""
    fields: dict[str, Any] = {field: tuple(told.get(name, ())) for name, field in SEVERAL.items()}
    fields |= {name: told.get(name) for name in PLAIN}
    fields |= {name: dt.datetime.fromisoformat(told[name]) for name in INSTANTS if name in told}
    meta = tuple((key.removeprefix(META), told[key]) for key in told if key.startswith(META))
    return ClipFilter(**fields, metadata=meta)
