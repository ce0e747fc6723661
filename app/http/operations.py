"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

import dataclasses
import time

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from app import __version__
from app.domain import ClipFilter
from app.errors import NotFound, Unavailable
from app.http.parameters import library_of
from app.http.problems import responses
from app.http.reindex import Reindex
from app.http.schemas import (
    Status,
    StatusBatching,
    StatusDatabase,
    StatusIndex,
    StatusLimits,
    StatusModel,
)
from app.library import Library
from app.store import clips, embeddings

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: str


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="The process lives")
async def healthz() -> Health:
    return Health(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    responses=responses(),
    summary="Model loaded and warm, database answers, index caught up",
)
def readyz(library: Library = Depends(library_of)) -> Health:
    library.store.check()
    if pending := library.index.pending:
        raise Unavailable(f"The index still lacks {pending} clips.")
    return Health(status="ready")


class ServiceStatus(Status):
    reindex: Reindex | None = Field(
        description="The one that is under way, else the last; null before the first."
    )


@router.get("/api/v1/status", responses=responses(), summary="The service's state")
def status(request: Request, library: Library = Depends(library_of)) -> ServiceStatus:
    space = library.spaces.active
    recogniser, index = space.recogniser, space.index
    with library.store.read() as session:
        stored = clips.count(session, ClipFilter())
        expected = embeddings.count_indexable(session, space.model_row)
    return ServiceStatus(
        status=index.state,
        version=__version__,
        uptime_seconds=time.monotonic() - request.app.state.started,
        model=StatusModel(
            **dataclasses.asdict(recogniser.info),
            runtime=recogniser.runtime,
            device=recogniser.device,
            dtype=recogniser.dtype,
        ),
        index=StatusIndex(
            backend=index.backend,
            kind=index.kind,
            state=index.state,
            size=len(index),
            expected=expected,
            dimension=recogniser.info.dimension,
            pending=index.pending,
            memory_bytes=index.memory_bytes,
        ),
        batching=StatusBatching(
            queued=library.gate.waiting,
            inside=library.gate.inside,
            **dataclasses.asdict(recogniser.batching()),
        ),
        database=StatusDatabase(dialect=library.store.dialect, clips=stored),
        requests=request.app.state.tally.figures(),
        limits=StatusLimits(
            upload_bytes=library.settings.max_upload_bytes,
            seconds=library.settings.max_seconds,
        ),
        reindex=_reindex(library),
    )


def _reindex(library: Library) -> Reindex | None:
    try:
        return Reindex.model_validate(library.reindexing.latest())
    except NotFound:
        return None
