"""POST /api/v1/emotion/recognize."""

from __future__ import annotations

import time

import starlette.datastructures
from fastapi import APIRouter, Depends, File, Form, Header, Request, UploadFile
from fastapi.responses import JSONResponse

from app.domain import Channel, ClipFields, Granularity
from app.errors import NoAudio, TooLarge
from app.http.hang_up import while_connected
from app.http.parameters import Instant, Text, library_of, parse_metadata
from app.http.problems import responses
from app.http.schemas import RecogniseAnswer
from app.http.tally import Tally
from app.library import Library
from app.library.recognise import Posted, recognise
from app.recogniser import Flow

MAX_TAGS = 100
MAX_IGNORED_TOLD = 20

router = APIRouter(prefix="/api/v1", tags=["recognise"])


def check_upload(audio_file: starlette.datastructures.UploadFile, library: Library) -> None:
    """Raises NoAudio for an empty file, TooLarge for one over the limit."""
    size, limit = audio_file.size or 0, library.settings.max_upload_bytes
    if size == 0:
        raise NoAudio("The file is empty.")
    if size > limit:
        raise TooLarge(f"The file is {size} bytes; {limit} are allowed (EMOSEEK_MAX_UPLOAD_MB).")


async def ignored_fields(request: Request) -> tuple[str, ...]:
    """Warnings of parameters that the route does not have: clients of the older interface may
    send what they like, but a misspelled field should not vanish silently."""
    known = {param.alias for param in request.scope["route"].dependant.body_params}
    unknown = (name for name in dict.fromkeys(await request.form()) if name not in known)
    warnings = (
        *(f"The field {name[:100]!r} is not known and was ignored." for name in unknown),
        *(
            f"{name[:100]!r} belongs into the form; in the query it is ignored."
            for name in dict.fromkeys(request.query_params)
        ),
    )
    return warnings[:MAX_IGNORED_TOLD]


@router.post(
    "/emotion/recognize",
    response_model=RecogniseAnswer,
    responses=responses(400, 409, 410, 413, 415, 429),
    summary="Recognise a clip, store it and make it searchable",
)
async def recognize(
    request: Request,
    audio_file: UploadFile = File(
        description="WAV, MP3, M4A, FLAC or OGG, told by content; up to 10 MB (setting)."
    ),
    granularity: Granularity = Form("utterance"),
    extract_embedding: bool = Form(False, description="Write embedding.npy beside the result."),
    index: bool = Form(True, description="False: stored, but never found by searches."),
    channel: Channel = Form(
        "mix", description="What to hear of a stereo call; split stores one clip a channel."
    ),
    customer_id: Text | None = Form(None),
    call_id: Text | None = Form(None),
    agent_id: Text | None = Form(None),
    recorded_at: Instant | None = Form(None, description="ISO 8601 with an offset."),
    tags: list[Text] = Form([], max_length=MAX_TAGS, description="Repeatable."),
    metadata: str | None = Form(None, description="A JSON object of up to 16 kB."),
    idempotency_key: Text | None = Header(
        None, description="A repeat with the same key gets the first answer and stores nothing."
    ),
    warnings: tuple[str, ...] = Depends(ignored_fields),
    library: Library = Depends(library_of),
) -> JSONResponse:
    tally: Tally = request.app.state.tally
    with tally.measure(time.monotonic()):
        fields = ClipFields(
            customer_id=customer_id,
            call_id=call_id,
            agent_id=agent_id,
            recorded_at=recorded_at,
            tags=tuple(sorted(set(tags))),
            metadata=parse_metadata(metadata),
        )
        check_upload(audio_file, library)
        posted = Posted(
            source=audio_file.file,
            granularity=granularity,
            extract_embedding=extract_embedding,
            index=index,
            channel=channel,
            fields=fields,
            idempotency_key=idempotency_key,
            warnings=warnings,
            flow=Flow(),
        )
        return await while_connected(
            request, posted.flow, lambda: JSONResponse(recognise(library, posted))
        )
