"""Reindex: a new build of the index, or another model, while clips are posted and searched."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from app.http.parameters import library_of
from app.http.problems import responses
from app.http.schemas import Model
from app.library import Library
from app.library.model_names import source_named
from app.store.reindexes import Kind, State

router = APIRouter(prefix="/api/v1/admin/reindex", tags=["reindex"])


class ReindexBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Null: build the index anew from the stored embeddings. Else a model to hear "
        "all clips again with: `bundled`, the id of a cached model, or the name of a directory in "
        "models/ of the data directory.",
    )


class RebuildSummary(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clips: int = Field(description="In the new build.")
    left_out: int = Field(description="Clips whose stored embedding is not finite.")
    build: int = Field(description="Its number, as in the answers of searches.")
    engine: str = Field(description="flat (it compares with all) or graph.")
    seconds: float


class ReembedSummary(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="The active model now.")
    clips: int = Field(description="In its index.")
    reembedded: int = Field(description="Heard again by this reindex.")
    without_audio: int = Field(
        description="Clips that were not heard by it and whose audio is not kept: they keep their "
        "scores, and no search finds them."
    )
    damaged: int = Field(description="Likewise, because their kept audio is missing or damaged.")
    changed_emotion: int = Field(description="Clips with another emotion than before.")
    overlap: float | None = Field(
        description="The mean share of a clip's ten nearest neighbours before that are among "
        "them afterwards; null where there were fewer than two clips."
    )
    overlap_clips: int = Field(description="Clips that it was measured with, 500 at most.")
    seconds: float = Field(description="Since it was begun, or last gone on with.")


class DropSummary(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dropped: int = Field(description="Embeddings that were removed.")
    seconds: float


class Reindex(BaseModel):
    """The reindex that is under way, or the last one."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: Kind
    model: str | None = Field(description="Of a reembed: the id of the model that was asked for.")
    state: State
    done: int = Field(
        description="Clips of `total`. A rebuild goes over each two or three times, and this is "
        "the work on them so far, not a number of clips that are finished."
    )
    total: int = Field(
        description="Clips that are to be gone over. A reembed finds out how many it need not hear "
        "when it has loaded the model; clips that are deleted or cannot be heard are taken off."
    )
    started: dt.datetime
    finished: dt.datetime | None = Field(description="Null while it is running or stopping.")
    message: str | None
    summary: RebuildSummary | ReembedSummary | DropSummary | None = Field(
        description="Only of one that is done."
    )


class Roles(BaseModel):
    """The model that answers, and the one beside it that hears new clips too."""

    active: Model
    beside: Model


@router.post(
    "", status_code=202, responses=responses(404, 409), summary="Build the index anew, or re-embed"
)
def begin_reindex(
    wanted: Annotated[ReindexBegin | None, Body()] = None,
    library: Library = Depends(library_of),
) -> Reindex:
    """Without a model: from the stored embeddings, beside the index in use, whose place it then
    takes. With one: every clip whose audio is kept is heard again by it, new clips are heard by
    both models, and at the end the model takes the active one's place in one moment; the other one
    stays beside it until it is dropped. It goes on after a restart of the service, a rebuild from
    its beginning. 409 `under-way` when this one is already; 409 `conflict` while another is, when
    another model is beside the active one, or when the model is the active one."""
    if wanted is None or wanted.model is None:
        return Reindex.model_validate(library.reindexing.begin("rebuild"))
    source = source_named(library.settings, wanted.model)
    return Reindex.model_validate(library.reindexing.begin("reembed", source.id))


@router.get("", responses=responses(404), summary="How far the reindex has come")
def get_reindex(library: Library = Depends(library_of)) -> Reindex:
    return Reindex.model_validate(library.reindexing.latest())


@router.post("/stop", status_code=202, responses=responses(409), summary="Stop the reindex")
def stop_reindex(library: Library = Depends(library_of)) -> Reindex:
    """Searches go on as before it, unless its end was near. What a reembed has heard stays, and
    the same request goes on with it. 409 when no reindex is under way, or it is a drop."""
    return Reindex.model_validate(library.reindexing.stop())


@router.post("/rollback", responses=responses(409), summary="Go back to the model before")
def roll_back(library: Library = Depends(library_of)) -> Roles:
    """Scores, searches and the model that is told change in one moment. Done again it rolls
    forward. 409 when no other model is beside the active one, or a reindex is under way."""
    with library.reindexing.idle():
        spaces = library.roles.switch()
    assert spaces.beside is not None
    return Roles(
        active=Model(**dataclasses.asdict(spaces.active.model)),
        beside=Model(**dataclasses.asdict(spaces.beside.model)),
    )


@router.post("/drop", status_code=202, responses=responses(409), summary="Give up the model before")
def drop_model(library: Library = Depends(library_of)) -> Reindex:
    """New clips are heard by the active model only, and what the other one made is removed, but
    for embeddings of clips that have none by the active model. No rollback after that. 409 when no
    other model is beside, a reindex is under way, or EMOSEEK_MODEL names that model."""
    return Reindex.model_validate(library.reindexing.begin("drop"))
