"""Stored clips: list, count, facets, one, its audio and embedding, change, delete."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message, Receive, Scope, Send

from app.domain import Clip, ClipFilter
from app.errors import InvalidParameter, NotFound, NotIndexed
from app.http.parameters import (
    MAX_ID,
    ClipId,
    Filters,
    Instant,
    Text,
    check_metadata,
    library_of,
)
from app.http.problems import render, responses
from app.http.recognise import MAX_TAGS
from app.http.schemas import ClipDetail, ClipPage, ClipView, Count, Deleted, Facets, FacetValue
from app.library import Library
from app.store import clips, embeddings

MAX_FACET_VALUES = 1000
FACET_NAMES = (*clips.FACETS, "tag")

router = APIRouter(prefix="/api/v1/clips", tags=["clips"])


class ClipChanges(BaseModel):
    """Fields to replace; those left out stay, null clears."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Text | None = None
    call_id: Text | None = None
    agent_id: Text | None = None
    recorded_at: Instant | None = None
    tags: list[Text] | None = Field(None, max_length=MAX_TAGS)
    metadata: dict[str, Any] | None = None


@router.get("", responses=responses(), summary="Clips that match, newest first")
def list_clips(
    limit: int = Query(50, ge=1, le=1000),
    cursor: str | None = Query(None, description="next_cursor of the page before."),
    where: ClipFilter = Depends(Filters("limit", "cursor")),
    library: Library = Depends(library_of),
) -> ClipPage:
    before = None
    if cursor is not None:
        if re.fullmatch("[0-9]{1,19}", cursor) is None or int(cursor) > MAX_ID:
            raise InvalidParameter("cursor", "is not one that this route gave out.")
        before = int(cursor)
    with library.store.read() as session:
        page = clips.page(session, where, limit + 1, before)
    more, index = len(page) > limit, library.index
    return ClipPage(
        clips=[ClipView.of(clip, clip.id in index) for clip in page[:limit]],
        next_cursor=str(page[limit - 1].id) if more else None,
    )


@router.delete("", responses=responses(), summary="Delete the clips that match")
def delete_clips(
    where: ClipFilter = Depends(Filters()), library: Library = Depends(library_of)
) -> Deleted:
    if not where:
        raise InvalidParameter("filter", "at least one is needed to delete clips.")
    return Deleted(deleted=library.forget_matching(where))


@router.get("/count", responses=responses(), summary="Number of clips that match")
def count_clips(
    where: ClipFilter = Depends(Filters()), library: Library = Depends(library_of)
) -> Count:
    with library.store.read() as session:
        return Count(count=clips.count(session, where))


@router.get("/facets", responses=responses(), summary="Numbers of clips by value")
def facets(
    by: str = Query(description=f"Comma-separated, of {', '.join(FACET_NAMES)}."),
    where: ClipFilter = Depends(Filters("by")),
    library: Library = Depends(library_of),
) -> Facets:
    names = list(dict.fromkeys(by.split(",")))
    for name in names:
        if name not in FACET_NAMES:
            raise InvalidParameter("by", f"names other than {', '.join(FACET_NAMES)}.")
    with library.store.read() as session:
        return Facets(
            facets={
                name: [
                    FacetValue(value=value, count=count)
                    for value, count in clips.facet(session, name, where, MAX_FACET_VALUES)
                ]
                for name in names
            }
        )


@router.get("/{clip_id}", responses=responses(404), summary="One clip")
def get_clip(clip_id: ClipId, library: Library = Depends(library_of)) -> ClipDetail:
    return _detail(library, library.clip(clip_id))


class AudioFile(FileResponse):
    """A clip's audio, which may be deleted between the look and the opening."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await super().__call__(scope, receive, noting)
        except (RuntimeError, FileNotFoundError):  # what Starlette makes of a missing file
            if started:
                raise
            await render(scope["path"], NotFound("The clip was deleted."))(scope, receive, send)


@router.head("/{clip_id}/audio", include_in_schema=False)
@router.get(
    "/{clip_id}/audio",
    responses=responses(400, 404, 416) | {200: {"content": {"audio/flac": {}}}},
    response_class=FileResponse,
    summary="The clip's 16 kHz audio (ranges)",
)
def get_audio(clip_id: ClipId, library: Library = Depends(library_of)) -> FileResponse:
    key = library.clip(clip_id).audio_key
    if key is None or not library.kept_audio.path(key).is_file():
        raise NotFound(f"The audio of clip {clip_id} is not kept.")
    return AudioFile(
        library.kept_audio.path(key),
        media_type="audio/flac",
        filename=f"clip_{clip_id}.flac",
        content_disposition_type="inline",
    )


@router.get(
    "/{clip_id}/embedding",
    responses=responses(404, 409) | {200: {"content": {"application/octet-stream": {}}}},
    response_class=Response,
    summary="The clip's embedding by the active model, float32 (D,) .npy",
)
def get_embedding(clip_id: ClipId, library: Library = Depends(library_of)) -> Response:
    with library.store.read() as session:
        embedding = embeddings.get(session, library.model_row, [clip_id]).get(clip_id)
    if embedding is None:
        library.clip(clip_id)
        raise NotIndexed(f"Clip {clip_id} has no embedding of the active model.")
    array = io.BytesIO()
    np.save(array, embedding, allow_pickle=False)
    return Response(
        array.getvalue(),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="clip_{clip_id}.npy"'},
    )


@router.patch("/{clip_id}", responses=responses(400, 404), summary="Change what is said of a clip")
def change_clip(
    clip_id: ClipId, changes: ClipChanges, library: Library = Depends(library_of)
) -> ClipDetail:
    given = changes.model_dump(include=changes.model_fields_set)
    if "tags" in given:
        given["tags"] = tuple(sorted(set(given["tags"] or ())))
    if "metadata" in given:
        given["metadata"] = check_metadata(given["metadata"] or {})
    return _detail(library, library.change(clip_id, given))


@router.delete("/{clip_id}", status_code=204, responses=responses(404), summary="Delete a clip")
def delete_clip(clip_id: ClipId, library: Library = Depends(library_of)) -> None:
    if not library.forget(clip_id):
        raise NotFound(f"There is no clip {clip_id}.")


def _detail(library: Library, clip: Clip) -> ClipDetail:
    said = library.classifiers.of_clip(clip.id)
    return ClipDetail.with_duplicate(
        clip, clip.id in library.index, library.duplicate_of(clip), said
    )
