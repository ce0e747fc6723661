"""Clusters: groupings of clips that are asked for, followed, read and deleted."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.analysis.grouping import MOST_CLUSTERS
from app.errors import Conflict, InvalidParameter
from app.http.cluster_schemas import (
    ClusterRun,
    ClusterRunDetail,
    ClusterRunPage,
    MapPage,
    MemberPage,
)
from app.http.filter_body import FilterBody
from app.http.parameters import MAX_ID, library_of
from app.http.problems import responses
from app.library import Library
from app.library.clusterings import Wanted

router = APIRouter(prefix="/api/v1/clusters", tags=["clusters"])

MOST_RUNS = 2**31 - 1
RunId = Annotated[int, Path(ge=1, le=MOST_RUNS, description="A run's id.")]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before.")]


class ClusterBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    algorithm: Literal["hdbscan", "kmeans"] = Field(
        "hdbscan", description="hdbscan finds how many there are, and leaves outliers out."
    )
    n_clusters: int | None = Field(
        None, ge=2, le=MOST_CLUSTERS, description="Of kmeans; null: chosen, and said how."
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="The same clips and seed give the same clusters."
    )
    filters: FilterBody = Field(default_factory=FilterBody, description="Which clips; null: all.")
    previous: int | None = Field(
        None,
        ge=1,
        le=MOST_RUNS,
        description="A run that is done and that this one is compared with: clusters keep their "
        "lasting ids, events say what happened to them, and the map lies alike.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> ClusterBegin:
        if self.algorithm == "hdbscan" and self.n_clusters is not None:
            raise ValueError("n_clusters is for kmeans; hdbscan finds their number")
        return self


@router.post("", status_code=202, responses=responses(), summary="Group clips into clusters")
def begin_clusters(wanted: ClusterBegin, library: Library = Depends(library_of)) -> ClusterRun:
    """Over the clips that searches would find with these filters. Runs are done one after the
    other, and go on after a restart of the service from their beginning, twice at most. One that
    finds fewer than 20 clips fails and says so."""
    run = library.clusterings.begin(
        Wanted(
            wanted.algorithm,
            wanted.n_clusters,
            wanted.seed,
            wanted.filters.wanted(),
            wanted.previous,
        ),
        library.model_row,
    )
    return ClusterRun.of(run, None)


@router.get("", responses=responses(), summary="Cluster runs, newest first")
def list_cluster_runs(
    limit: int = Query(50, ge=1, le=1000),
    cursor: Cursor = None,
    library: Library = Depends(library_of),
) -> ClusterRunPage:
    before = None if cursor is None else _cursor(cursor)
    page = library.clusterings.page(limit + 1, before)
    return ClusterRunPage(
        runs=[ClusterRun.of(run, library.clusterings.progress(run.id)) for run in page[:limit]],
        next_cursor=str(page[limit - 1].id) if len(page) > limit else None,
    )


@router.get("/{run_id}", responses=responses(404), summary="How far a run is, then its clusters")
def get_clusters(run_id: RunId, library: Library = Depends(library_of)) -> ClusterRunDetail:
    progress = library.clusterings.progress(run_id)  # first: a run that is done by then has none
    run = library.clusterings.get(run_id)
    clusters = library.clusterings.clusters(run_id) if run.summary is not None else []
    return ClusterRunDetail.with_clusters(run, progress, clusters)


@router.get(
    "/{run_id}/members", responses=responses(404, 409), summary="The clips of a run's cluster"
)
def get_members(
    run_id: RunId,
    cluster: int = Query(ge=-1, le=MOST_RUNS, description="Its number; −1: clips in none."),
    limit: int = Query(1000, ge=1, le=10_000),
    cursor: Cursor = None,
    library: Library = Depends(library_of),
) -> MemberPage:
    _check_done(library, run_id)
    after = 0 if cursor is None else _cursor(cursor)
    ids, more = library.clusterings.members(run_id, cluster, after, limit)
    return MemberPage(clip_ids=ids.tolist(), next_cursor=None if more is None else str(more))


@router.get("/{run_id}/map", responses=responses(404, 409), summary="Clips in two dimensions")
def get_map(
    run_id: RunId,
    limit: int = Query(5000, ge=1, le=20_000),
    cursor: Cursor = None,
    library: Library = Depends(library_of),
) -> MapPage:
    """Alike clips lie near each other. Of more than 100,000 clips as many are drawn."""
    _check_done(library, run_id)
    after = 0 if cursor is None else _cursor(cursor)
    return MapPage.of(*library.clusterings.points(run_id, after, limit))


@router.delete(
    "/{run_id}", status_code=204, responses=responses(404), summary="Delete a run, or end it"
)
def delete_clusters(run_id: RunId, library: Library = Depends(library_of)) -> None:
    """With all that it found. One that is queued or running ends."""
    library.clusterings.remove(run_id)


def _check_done(library: Library, run_id: int) -> None:
    if library.clusterings.get(run_id).state != "done":
        raise Conflict(f"Cluster run {run_id} is not done.")


def _cursor(text: str) -> int:
    if re.fullmatch("[0-9]{1,19}", text) is None or int(text) > MAX_ID:
        raise InvalidParameter("cursor", "is not one that this route gave out.")
    return int(text)
