"""GET /api/v1/clips/{clip_id}/frames: the emotion over time in a stored clip."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from app.domain import LABELS
from app.http.hang_up import while_connected
from app.http.parameters import ClipId, library_of
from app.http.problems import responses
from app.http.schemas import FrameScores, SegmentScores
from app.library import Library
from app.library.frames import frames_of
from app.recogniser import Flow

MOST_POINTS = 20_000

router = APIRouter(prefix="/api/v1/clips", tags=["clips"])


class ClipFramesAnswer(FrameScores):
    clip_id: int
    model: str = Field(description="Id of the active model, which heard this.")
    segments: list[SegmentScores] = Field(description="As recognise answers them.")


@router.get(
    "/{clip_id}/frames",
    responses=responses(404, 413, 429),
    summary="A clip's emotion over time",
)
async def get_frames(
    request: Request,
    clip_id: ClipId,
    points: int = Query(
        1000,
        ge=1,
        le=MOST_POINTS,
        description="Steps in time at most; each is the mean of as many of the model's frames "
        "(50 a second) as it takes, and `hop` says how long it is.",
    ),
    library: Library = Depends(library_of),
) -> ClipFramesAnswer:
    """Heard again from the kept audio by the active model, which takes as long as recognising it;
    nothing is stored."""
    flow = Flow()
    heard = await while_connected(request, flow, lambda: frames_of(library, clip_id, points, flow))
    return ClipFramesAnswer(
        clip_id=clip_id,
        model=heard.model,
        hop=heard.hop,
        emotions=[LABELS[place] for place in heard.scores.argmax(axis=1)],
        scores={
            label: heard.scores[:, place].astype(float).tolist()
            for place, label in enumerate(LABELS)
        },
        segments=[SegmentScores.model_validate(one.as_answer()) for one in heard.segments],
    )
