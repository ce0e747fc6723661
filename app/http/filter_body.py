"""Filters in a JSON body; the same conditions as in queries."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.domain import ClipFilter
from app.http.parameters import Instant, Label, Text

MAX_VALUES = 50  # of each kind, well below a database's limit


class FilterBody(BaseModel):
    """Which clips: every given condition must hold."""

    model_config = ConfigDict(extra="forbid")

    emotion: list[Label] = Field([], max_length=MAX_VALUES, description="Any of these.")
    min_confidence: float | None = Field(None, ge=0, le=1)
    customer_id: Text | None = None
    call_id: Text | None = None
    agent_id: Text | None = None
    tag: list[Text] = Field([], max_length=MAX_VALUES, description="All of these.")
    since: Instant | None = Field(
        None, description="recorded_at, else the time of storing, at or after this."
    )
    until: Instant | None = Field(None, description="The same, before this.")
    metadata: dict[Text, Text] = Field(
        {},
        max_length=MAX_VALUES,
        description="Equality on top-level metadata keys, as meta.KEY=VALUE in a query.",
    )
    file_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    def as_filter(self) -> ClipFilter:
        return ClipFilter(
            emotions=tuple(self.emotion),
            min_confidence=self.min_confidence,
            customer_id=self.customer_id,
            call_id=self.call_id,
            agent_id=self.agent_id,
            tags=tuple(dict.fromkeys(self.tag)),
            since=self.since,
            until=self.until,
            metadata=tuple(self.metadata.items()),
            file_sha256=self.file_sha256,
        )
