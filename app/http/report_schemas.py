"""What the routes of reports take and answer, field by field."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.analysis.grouping import MOST_CLUSTERS
from app.http.cluster_schemas import Event, Leader
from app.http.filter_body import FilterBody
from app.http.parameters import Text
from app.http.schemas import Scores
from app.library.reports import Grouping
from app.store.reports import Report, State


class GroupingBody(BaseModel):
    """How clips are grouped; see /api/v1/clusters."""

    model_config = ConfigDict(extra="forbid")

    algorithm: Literal["hdbscan", "kmeans"] = "hdbscan"
    n_clusters: int | None = Field(None, ge=2, le=MOST_CLUSTERS, description="Of kmeans.")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.algorithm == "hdbscan" and self.n_clusters is not None:
            raise ValueError("n_clusters is for kmeans; hdbscan finds their number")
        return self

    def wanted(self) -> Grouping:
        return Grouping(self.algorithm, self.n_clusters, self.seed)


class ReportBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field("Report", description="Its heading.")
    filters: FilterBody = Field(
        default_factory=FilterBody, description="Which clips; `since` and `until` are the period."
    )
    settings: GroupingBody = Field(default_factory=GroupingBody)


class ReportState(BaseModel):
    """How far a report is."""

    id: int
    state: State
    name: str
    schedule_id: int | None = Field(description="That it was made on; it may be gone.")
    slot: dt.datetime | None = Field(description="Of the schedule; the end of the period.")
    filters: dict[str, Any]
    settings: dict[str, Any]
    previous: int | None = Field(description="The report that it is compared with.")
    cluster_run: int | None = Field(description="See /api/v1/clusters; deleted with the report.")
    created: dt.datetime
    finished: dt.datetime | None
    message: str | None = Field(description="Why it failed, or what else is to be known.")

    @classmethod
    def of(cls, report: Report) -> Self:
        return cls(
            id=report.id,
            state=report.state,
            name=report.name,
            schedule_id=report.schedule_id,
            slot=report.slot,
            filters=report.filters,
            settings=report.grouping,
            previous=report.previous,
            cluster_run=report.cluster_run,
            created=report.created,
            finished=report.finished,
            message=report.message,
        )


class ReportPage(BaseModel):
    reports: list[ReportState] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class ReportCluster(BaseModel):
    lasting_id: int = Field(description="The same in all reports of a schedule.")
    cluster: int = Field(description="Its number in the cluster run.")
    name: str
    size: int = Field(description="Clips.")
    size_before: int | None = Field(description="In the report before; null where there is none.")
    share: float = Field(description="Of the clips that were grouped.")
    emotions: Scores
    dominant_emotion: str | None
    mean_confidence: float | None
    cohesion: float
    negativity: float | None = Field(description="Share of angry, disgusted, fearful and sad.")
    trend: float = Field(
        description="Times as many clips as in the report before, per day where both periods have "
        "two ends; without one, the line through clips a week at its end beside its mean. In "
        "[0.25, 4]; 1 where neither is known."
    )
    priority: float = Field(description="share × negativity × trend.")
    first_week: dt.date
    weeks: list[int] = Field(description="Clips a week, from the Monday (UTC) of first_week on.")
    exemplars: list[int] = Field(
        description="Clips to listen to, at /api/v1/clips/{clip_id}/audio."
    )
    customers: list[Leader]
    agents: list[Leader]


class Period(BaseModel):
    clips: int
    negativity: float | None


class PastPeriod(Period):
    id: int
    slot: dt.datetime | None


class ReportMap(BaseModel):
    """Up to 2000 clips in two dimensions, alike ones near each other."""

    clip_ids: list[int]
    x: list[float]
    y: list[float]
    clusters: list[int | None] = Field(description="Lasting ids; null: none.")
    emotions: list[str | None]


class ReportContent(BaseModel):
    """What a report says. Clips that were deleted since are left out of exemplars and map."""

    id: int
    name: str
    created: dt.datetime
    schedule_id: int | None
    slot: dt.datetime | None
    since: dt.datetime | None
    until: dt.datetime | None
    filters: dict[str, Any]
    model: dict[str, Any] | None = Field(description="Whose embeddings were compared.")
    cluster_run: int | None
    previous: int | None
    message: str | None
    summary: list[str] = Field(description="In plain words, the most important first.")
    clips: int = Field(description="That match, when it was made.")
    emotions: dict[str, int] = Field(description="Clips by emotion, where it is known.")
    negative_emotions: list[str]
    negativity: float | None
    before: Period | None = Field(description="Of the report before.")
    outliers: int | None = Field(description="Clips in no cluster.")
    silhouette: float | None
    events: list[Event] | None = Field(description="Since the report before, by lasting ids.")
    clusters: list[ReportCluster] = Field(description="By falling priority.")
    history: list[PastPeriod] = Field(description="Earlier reports of the schedule, oldest first.")
    map: ReportMap
