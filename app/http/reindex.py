"""Reindex: have the index built anew while it is searched and added to."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from app.http.parameters import library_of
from app.http.problems import responses
from app.library import Library
from app.store.reindexes import Kind, State

router = APIRouter(prefix="/api/v1/admin/reindex", tags=["reindex"])


class ReindexBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: None = Field(None, description="Null: the active model, whose embeddings are stored.")


class ReindexSummary(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    clips: int = Field(description="In the new build.")
    left_out: int = Field(description="Clips whose stored embedding is not finite.")
    build: int = Field(description="Its number, as in the answers of searches.")
    engine: str = Field(description="flat (it compares with all) or graph.")
    seconds: float


class Reindex(BaseModel):
    """The reindex that is under way, or the last one."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: Kind
    state: State
    done: int = Field(
        description="Clips of `total`: each is gone over two or three times, and this is the work "
        "on them so far, not a number of clips that are finished."
    )
    total: int = Field(description="Clips that should be in the index, when it was begun.")
    started: dt.datetime
    finished: dt.datetime | None = Field(description="Null while it is running or stopping.")
    message: str | None
    summary: ReindexSummary | None = Field(description="Only of one that is done.")


@router.post("", status_code=202, responses=responses(409), summary="Build the index anew")
def begin_reindex(
    wanted: Annotated[ReindexBegin | None, Body()] = None,
    library: Library = Depends(library_of),
) -> Reindex:
    """From the stored embeddings, beside the index in use, whose place it then takes. It goes on
    after a restart of the service, from the beginning. 409 while another is under way."""
    return Reindex.model_validate(library.reindexing.begin())


@router.get("", responses=responses(404), summary="How far the reindex has come")
def get_reindex(library: Library = Depends(library_of)) -> Reindex:
    return Reindex.model_validate(library.reindexing.latest())


@router.post("/stop", status_code=202, responses=responses(409), summary="Stop the reindex")
def stop_reindex(library: Library = Depends(library_of)) -> Reindex:
    """The index stays as it was, unless the new build was about to take its place. 409 when no
    reindex is under way."""
    return Reindex.model_validate(library.reindexing.stop())
