"""What the routes of clusters answer, field by field."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from app.domain import LABELS
from app.http.schemas import Model, Scores, model_view
from app.library.clusterings import Progress
from app.store.cluster_runs import Points, Run, State, StoredCluster


class Leader(BaseModel):
    id: str
    clips: int = Field(description="In the cluster.")
    share: float = Field(description="Of the cluster's clips that have a customer (an agent).")
    lift: float = Field(description="How many times the share among all clips of the run that is.")


class Trend(BaseModel):
    """Clips a week; weeks begin on Monday, UTC."""

    first_week: dt.date
    clips: list[int] = Field(description="One for each week, the last 260 at most.")
    slope: float | None = Field(
        description="Clips a week, each week: least squares over the weeks that lie wholly between "
        "the first and the last clip of the run; null with fewer than three of them."
    )
    slope_error: float | None = Field(description="Its standard error.")


class ClusterView(BaseModel):
    """One cluster as it was found, without clips that were deleted since."""

    cluster: int = Field(description="From 0 on, by falling size.")
    lasting_id: int = Field(description="The same in runs that are compared with each other.")
    name: str = Field(description="Different from the others' of the run.")
    size: int = Field(description="Clips, when it was found.")
    share: float = Field(description="Of all clips of the run, outliers too.")
    emotions: Scores = Field(description="Shares of its clips whose emotion is known.")
    emotions_known: int = Field(description="Clips whose emotion is known.")
    dominant_emotion: str | None = Field(description="Null where none is known.")
    scores: Scores | None = Field(description="Mean scores; null where no clip has any.")
    mean_confidence: float | None
    cohesion: float = Field(
        description="Mean cosine of its clips' directions, on the main axes, to their centre."
    )
    radius: float = Field(
        description="Root mean square distance to the centre; of all clips together it is about 1."
    )
    medoid: int | None = Field(description="The clip nearest to all others of the cluster.")
    representatives: list[int] = Field(
        description="Up to five clips near the centre and unlike each other, the medoid first; "
        "/api/v1/clips/{clip_id}/audio plays them."
    )
    customers: list[Leader] = Field(description="Those with most clips, five at most.")
    agents: list[Leader] = Field(description="Likewise.")
    trend: Trend

    @classmethod
    def of(cls, cluster: StoredCluster) -> Self:
        exemplars = cluster.profile["exemplars"]
        return cls(
            cluster=cluster.number,
            lasting_id=cluster.lasting_id,
            name=cluster.name,
            medoid=exemplars[0] if exemplars else None,
            representatives=exemplars,
            **{name: value for name, value in cluster.profile.items() if name != "exemplars"},
        )


class Event(BaseModel):
    """What happened to clusters since the run before, by their lasting ids."""

    kind: Literal["born", "grew", "shrank", "split", "merged", "died"]
    before: list[int] = Field(description="In the run before.")
    after: list[int] = Field(description="In this one.")
    ratio: float | None = Field(description="Of a change in size, beside the other clusters'.")
    p: float | None = Field(
        description="The chance of one as large without a reason, corrected for the number of "
        "clusters; it is told of below 0.0005."
    )


class Whole(BaseModel):
    """What is said of all clusters together."""

    clips: int = Field(description="That were grouped.")
    outliers: int = Field(description="Clips in no cluster.")
    outlier_share: float
    silhouette: float | None = Field(
        description="Mean over 3000 clustered clips, in [−1, 1]; null with fewer than two clusters."
    )
    parameters: dict[str, Any] = Field(description="Of the algorithm, and how they were chosen.")
    on_map: int = Field(description="Clips on the map.")
    seconds: float


class ClusterRun(BaseModel):
    """A grouping of clips: how far it is, then what it found."""

    id: int
    state: State
    step: Literal["reading", "clusters", "profiles", "map", "writing"] | None = Field(
        description="Of one that is running."
    )
    done: int | None = Field(description="Clips that are read, of `total`; while it is running.")
    total: int | None
    algorithm: Literal["hdbscan", "kmeans"]
    n_clusters: int | None = Field(description="That was asked for.")
    seed: int
    filters: dict[str, Any]
    previous: int | None = Field(description="The run that it is compared with.")
    model: Model = Field(description="Whose embeddings it uses.")
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    message: str | None = Field(description="Why it failed, or what else is to be known.")

    @classmethod
    def of(cls, run: Run, progress: Progress | None, **more: Any) -> Self:
        at_work = progress if run.state == "running" else None
        return cls(
            id=run.id,
            state=run.state,
            step=None if at_work is None else at_work.step,
            done=None if at_work is None else at_work.done,
            total=None if at_work is None else at_work.total,
            algorithm=run.algorithm,
            n_clusters=run.n_clusters,
            seed=run.seed,
            filters=run.filters,
            previous=run.previous,
            model=model_view(run.model),
            created=run.created,
            started=run.started,
            finished=run.finished,
            message=run.message,
            **more,
        )


class ClusterRunDetail(ClusterRun):
    whole: Whole | None = Field(description="Of a run that is done.")
    events: list[Event] | None = Field(
        description="Since the run before; null where there is none, or this one is not done."
    )
    clusters: list[ClusterView] | None = Field(description="Of a run that is done.")

    @classmethod
    def with_clusters(
        cls, run: Run, progress: Progress | None, clusters: list[StoredCluster]
    ) -> Self:
        told = run.summary
        if told is None:
            return cls.of(run, progress, whole=None, events=None, clusters=None)
        whole = Whole(
            outlier_share=told["outliers"] / max(told["clips"], 1),
            **{name: told[name] for name in Whole.model_fields if name != "outlier_share"},
        )
        return cls.of(
            run,
            progress,
            whole=whole,
            events=None if told["events"] is None else [Event(**one) for one in told["events"]],
            clusters=[ClusterView.of(one) for one in clusters],
        )


class ClusterRunPage(BaseModel):
    runs: list[ClusterRun] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class MemberPage(BaseModel):
    clip_ids: list[int] = Field(description="Ascending; a page may hold fewer than asked for.")
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class MapPage(BaseModel):
    """Clips on the map by rising id, a place in each list for each; fewer than asked for where some
    were deleted."""

    clip_ids: list[int]
    x: list[float] = Field(description="Within ±1, but for what turning the map does.")
    y: list[float]
    clusters: list[int] = Field(description="−1: none.")
    emotions: list[str | None]
    next_cursor: str | None = Field(description="For the next page; null on the last.")

    @classmethod
    def of(cls, points: Points, next_one: int | None) -> Self:
        return cls(
            clip_ids=points.ids.tolist(),
            x=[round(value, 5) for value in points.places[:, 0].tolist()],
            y=[round(value, 5) for value in points.places[:, 1].tolist()],
            clusters=points.clusters.tolist(),
            emotions=[None if code < 0 else LABELS[code] for code in points.emotions.tolist()],
            next_cursor=None if next_one is None else str(next_one),
        )
