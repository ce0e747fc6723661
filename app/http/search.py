"""Find clips that sound alike: by a stored clip, an upload, or a vector."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from starlette.datastructures import UploadFile

from app.domain import Channel, ClipFilter
from app.errors import InvalidParameter
from app.http.hang_up import while_connected
from app.http.parameters import ClipId, Filters, library_of
from app.http.problems import invalid, responses
from app.http.recognise import check_upload
from app.http.schemas import IndexState, NeighbourView, SearchAnswer
from app.library import Library
from app.library.search import Found, Wanted, by_audio, by_vectors, similar
from app.recogniser import Flow

router = APIRouter(prefix="/api/v1", tags=["search"])

_CHANNEL: dict[str, Channel] = {"mix": "mix", "left": "left", "right": "right"}
SEARCH_PARAMETERS = ("k", "min_similarity", "group_by", "exact")


def wanted(
    k: int = Query(10, ge=1, le=1000, description="Neighbours at most."),
    min_similarity: float = Query(-1.0, ge=-1, le=1, description="Similarity at least."),
    group_by: Literal["customer_id"] | None = Query(
        None, description="The nearest clip of each customer only."
    ),
    exact: bool = Query(
        False, description="Compare with every clip; every search of this index kind does."
    ),
    where: ClipFilter = Depends(Filters(*SEARCH_PARAMETERS)),
) -> Wanted:
    return Wanted(k, min_similarity, group_by, exact, where)


class VectorQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    vector: list[FiniteFloat] = Field(description="(D,) an embedding of the active model.")


@router.get(
    "/clips/{clip_id}/similar",
    responses=responses(404, 409),
    summary="The clips nearest to a stored one",
)
def similar_clips(
    clip_id: ClipId, wanted: Wanted = Depends(wanted), library: Library = Depends(library_of)
) -> SearchAnswer:
    return answer(library, similar(library, clip_id, wanted), clip_id)


@router.post(
    "/search",
    responses=responses(400, 413, 415, 429),
    summary="The clips nearest to an upload or a vector; nothing is stored",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["audio_file"],
                        "properties": {
                            "audio_file": {"type": "string", "format": "binary"},
                            "channel": {"enum": ["mix", "left", "right"], "default": "mix"},
                        },
                    }
                },
                "application/json": {"schema": VectorQuery.model_json_schema()},
            },
        }
    },
)
async def search(
    request: Request, wanted: Wanted = Depends(wanted), library: Library = Depends(library_of)
) -> SearchAnswer:
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1) as form:
            for name in form:
                if name not in ("audio_file", "channel"):
                    raise InvalidParameter(name[:100], "goes into the query, or is not known.")
            audio_file = form.get("audio_file")
            channel = _CHANNEL.get(str(form.get("channel", "mix")))
            if not isinstance(audio_file, UploadFile):
                raise InvalidParameter("audio_file", "is required and must be a file.")
            if channel is None:
                raise InvalidParameter("channel", "is not mix, left or right.")
            check_upload(audio_file, library)
            flow, file = Flow(), audio_file.file
            found = await while_connected(
                request, flow, lambda: by_audio(library, file, channel, wanted, flow)
            )
    else:
        query = _vector_query(await request.body())
        [found] = await run_in_threadpool(by_vectors, library, [query.vector], wanted)
    return answer(library, found)


def _vector_query(body: bytes) -> VectorQuery:
    try:
        return VectorQuery.model_validate_json(body)
    except ValidationError as exc:
        raise invalid(exc.errors()[0]) from exc


def answer(library: Library, found: Found, clip_id: int | None = None) -> SearchAnswer:
    return SearchAnswer(
        clip_id=clip_id,
        model=library.recogniser.info.id,
        index=IndexState(state=found.state, build=found.build, pending=found.pending),
        neighbours=[NeighbourView.of(neighbour) for neighbour in found.neighbours],
    )
