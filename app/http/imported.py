"""What an import says of a clip, checked: a row of a CSV file, a result.json."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, model_validator

from app.domain import LABELS, ClipFields, GivenScores
from app.errors import InvalidParameter
from app.http.parameters import Instant, Label, Text, check_metadata
from app.http.recognise import MAX_TAGS
from app.store.ids import HIGHEST_GIVEN
from app.store.imports import ImportedClip

SUM_TOLERANCE = 0.01  # nine scores written with three decimals


def _scores(scores: dict[str, float]) -> dict[str, float]:
    if set(scores) != set(LABELS):
        raise ValueError(f"must hold {', '.join(LABELS)}, and nothing else")
    if not all(0 <= score <= 1 for score in scores.values()):  # NaN is not either
        raise ValueError("must be between 0 and 1")
    if not math.isclose(total := sum(scores.values()), 1, abs_tol=SUM_TOLERANCE):
        raise ValueError(f"must sum to 1, not {total:.4g}")
    return scores


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        return check_metadata(metadata)
    except InvalidParameter as exc:
        raise ValueError(exc.detail.removeprefix("metadata: ").rstrip(".")) from exc


Scores = Annotated[dict[str, float], AfterValidator(_scores)]


class ImportedRow(BaseModel):
    """What is said of one vector: any of it may be left out."""

    model_config = ConfigDict(extra="forbid")

    id: int | None = Field(None, ge=1, le=HIGHEST_GIVEN, description="Becomes the clip's id.")
    customer_id: Text | None = None
    call_id: Text | None = None
    agent_id: Text | None = None
    recorded_at: Instant | None = None
    tags: Annotated[list[Text], FailFast()] = Field([], max_length=MAX_TAGS)
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] = {}
    emotion: Label | None = Field(None, description="With scores: the label of the largest.")
    scores: Scores | None = Field(None, description="All nine labels; they sum to 1.")

    @model_validator(mode="after")
    def _emotion_is_of_the_scores(self) -> Self:
        if self.scores is not None and self.emotion is not None:
            largest = max(self.scores.values())
            if self.scores[self.emotion] != largest:
                raise ValueError("emotion is not the label with the largest score")
        return self

    def as_clip(self) -> ImportedClip:
        return ImportedClip(
            ClipFields(
                customer_id=self.customer_id,
                call_id=self.call_id,
                agent_id=self.agent_id,
                recorded_at=self.recorded_at,
                tags=tuple(sorted(set(self.tags))),
                metadata=self.metadata,
            ),
            self._given_scores(),
        )

    def _given_scores(self) -> GivenScores:
        if self.scores is None:
            return GivenScores(self.emotion)
        emotion = self.emotion or max(LABELS, key=self.scores.__getitem__)
        return GivenScores(
            emotion, self.scores[emotion], tuple(self.scores[label] for label in LABELS)
        )


class ResultModel(BaseModel):
    digest: str | None = None


class ResultJson(BaseModel):
    """The fields of a result.json that are imported; it may hold others."""

    emotion: Label
    confidence: float = Field(ge=0, le=1)
    scores: Scores
    clip_id: int | None = Field(None, description="Only this service's own directories.")
    model: ResultModel | None = None

    @property
    def model_digest(self) -> str | None:
        return None if self.model is None else self.model.digest

    def given_scores(self) -> GivenScores:
        """As they are: nothing is computed anew."""
        return GivenScores(
            self.emotion, self.confidence, tuple(self.scores[label] for label in LABELS)
        )

    def fields(self, source_path: str | None) -> ClipFields:
        return ClipFields(metadata={} if source_path is None else {"source_path": source_path})
