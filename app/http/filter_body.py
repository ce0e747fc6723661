"""Filters within a JSON body, under the names of the query parameters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.domain import ClipFilter
from app.http.parameters import MAX_CONDITIONS, Instant, Label, Text, storable


def _listed(value: object) -> object:
    """One value stands for a list of it."""
    return [value] if isinstance(value, str) else value


class FilterBody(BaseModel):
    """As the query parameters of other routes, `meta.KEY` too; all that is given must hold."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Text]

    emotion: Annotated[list[Label], BeforeValidator(_listed)] = Field(
        [], description="Any of these."
    )
    min_confidence: float | None = Field(
        None, ge=0, le=1, description="Score of the clip's emotion, at least."
    )
    customer_id: Text | None = None
    call_id: Text | None = None
    agent_id: Text | None = None
    tag: Annotated[list[Text], BeforeValidator(_listed)] = Field([], description="All of these.")
    since: Instant | None = Field(
        None, description="recorded_at, else the time of storing, at or after this."
    )
    until: Instant | None = Field(None, description="The same, before this.")
    file_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, told: Any) -> Any:
        """A misspelled filter must not widen what it is given for."""
        if isinstance(told, dict):
            for name in told:
                if name not in cls.model_fields and not storable(name).startswith("meta."):
                    raise ValueError(f"{name[:100]} is not a filter")
        return told

    @model_validator(mode="after")
    def _few(self) -> FilterBody:
        if len(self.emotion) + len(self.tag) + len(self.__pydantic_extra__) > MAX_CONDITIONS:
            raise ValueError(f"at most {MAX_CONDITIONS} values are allowed")
        return self

    def wanted(self) -> ClipFilter:
        return ClipFilter(
            emotions=tuple(self.emotion),
            min_confidence=self.min_confidence,
            customer_id=self.customer_id,
            call_id=self.call_id,
            agent_id=self.agent_id,
            tags=tuple(dict.fromkeys(self.tag)),
            since=self.since,
            until=self.until,
            metadata=tuple(
                (name.removeprefix("meta."), value)
                for name, value in sorted(self.__pydantic_extra__.items())
            ),
            file_sha256=self.file_sha256,
        )
