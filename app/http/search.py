"""Find clips that sound alike: by a stored clip, an upload, or a vector."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat, ValidationError
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.responses import Response

from app.domain import Channel, ClipFilter
from app.errors import InvalidParameter
from app.http.hang_up import while_connected
from app.http.parameters import MAX_ID, ClipId, Filters, library_of
from app.http.problems import invalid, responses
from app.http.recognise import check_upload
from app.http.schemas import SearchAnswer
from app.http.similar import Similar, json_response, search_answer
from app.library import Library
from app.library.search import Wanted, by_audio, by_examples, by_vectors
from app.recogniser import Flow

router = APIRouter(prefix="/api/v1", tags=["search"])

_CHANNEL: dict[str, Channel] = {"mix": "mix", "left": "left", "right": "right"}
MAX_VECTORS = 100  # in one request
MAX_NEIGHBOURS = 10_000  # asked for by one request
MAX_EXAMPLES = 100  # of each kind
ExampleId = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
# One error is told: a body of nothing else would have a million of them.
Vector = Annotated[list[FiniteFloat], FailFast()]
SEARCH_PARAMETERS = ("k", "min_similarity", "group_by", "exact")


async def wanted(
    k: int = Query(10, ge=1, le=1000, description="Neighbours at most."),
    min_similarity: float = Query(-1.0, ge=-1, le=1, description="Similarity at least."),
    group_by: Literal["customer_id"] | None = Query(
        None, description="The nearest clip of each customer only; those without one are all kept."
    ),
    exact: bool = Query(
        False, description="Compare with every clip, whatever the kind of the index."
    ),
    where: ClipFilter = Depends(Filters(*SEARCH_PARAMETERS)),
) -> Wanted:
    return Wanted(k, min_similarity, group_by, exact, where)


class VectorQuery(BaseModel):
    """The clips nearest to an embedding of the active model, (D,)."""

    model_config = ConfigDict(extra="forbid")

    vector: Vector


class VectorsQuery(BaseModel):
    """The clips nearest to each of some embeddings of the active model, (D,) each: the answer is
    a list of answers, in this order."""

    model_config = ConfigDict(extra="forbid")

    vectors: Annotated[list[Vector], FailFast()] = Field(
        min_length=1,
        max_length=MAX_VECTORS,
        description=f"Their number times k may be {MAX_NEIGHBOURS} at most.",
    )


class ExamplesQuery(BaseModel):
    """The clips nearest to the mean of the positive examples' directions minus half the mean of
    the negative ones'; a direction is an embedding after the index's mean is removed, scaled to
    length 1. The examples themselves are not among the answer."""

    model_config = ConfigDict(extra="forbid")

    positive: Annotated[list[ExampleId], FailFast()] = Field(
        min_length=1, max_length=MAX_EXAMPLES, description="Ids of stored clips."
    )
    negative: Annotated[list[ExampleId], FailFast()] = Field(
        [], max_length=MAX_EXAMPLES, description="Ids of other stored clips."
    )


JsonQuery = VectorQuery | VectorsQuery | ExamplesQuery


@router.get(
    "/clips/{clip_id}/similar",
    response_model=SearchAnswer,
    responses=responses(404, 409),
    summary="The clips nearest to a stored one",
)
async def similar_clips(
    request: Request,
    clip_id: ClipId,
    wanted: Wanted = Depends(wanted),
    library: Library = Depends(library_of),
) -> Response:
    similar: Similar = request.app.state.similar
    similar.remember(request, wanted)
    return await similar.answer(library, clip_id, wanted)


@router.post(
    "/search",
    response_model=SearchAnswer | list[SearchAnswer],
    responses=responses(400, 404, 409, 413, 415, 429),
    summary="The clips nearest to an upload, to vectors or to examples; nothing is stored",
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
                "application/json": {
                    "schema": {"oneOf": [kind.model_json_schema() for kind in get_args(JsonQuery)]}
                },
            },
        }
    },
)
async def search(
    request: Request, wanted: Wanted = Depends(wanted), library: Library = Depends(library_of)
) -> Response:
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
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
        body = await request.body()
        return await run_in_threadpool(_by_json, library, body, wanted)
    return json_response(search_answer(found))


def _by_json(library: Library, body: bytes, wanted: Wanted) -> Response:
    match _json_query(body):
        case VectorQuery(vector=vector):
            [found] = by_vectors(library, [vector], wanted)
            return json_response(search_answer(found))
        case VectorsQuery(vectors=vectors):
            if len(vectors) * wanted.k > MAX_NEIGHBOURS:
                raise InvalidParameter("k", f"times the vectors is more than {MAX_NEIGHBOURS}.")
            found_by_each = by_vectors(library, vectors, wanted)
            return json_response([search_answer(found) for found in found_by_each])
        case ExamplesQuery(positive=positive, negative=negative):
            found = by_examples(library, positive, negative, wanted)
            return json_response(search_answer(found))


def _json_query(body: bytes) -> JsonQuery:
    try:
        query = from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidParameter("body", "is not JSON.") from exc
    names = query.keys() if isinstance(query, dict) else ()
    kind: type[JsonQuery] = VectorQuery
    if "vectors" in names:
        kind = VectorsQuery
    elif "positive" in names or "negative" in names:
        kind = ExamplesQuery
    try:
        return kind.model_validate(query)
    except ValidationError as exc:
        raise invalid(exc.errors()[0]) from exc
