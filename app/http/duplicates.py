"""Duplicates: of one clip, in groups over the library, and decisions of pairs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from app.domain import ClipFilter, DuplicateKind
from app.errors import InvalidParameter
from app.http.parameters import MAX_ID, ClipId, Filters, library_of
from app.http.problems import responses
from app.library import Library, duplicates
from app.store.duplicates import Decision

MOST_PAIRS = 1000  # of one request

DuplicateId = Annotated[int, Field(ge=1, le=MAX_ID)]

router = APIRouter(prefix="/api/v1", tags=["duplicates"])


class DuplicateView(BaseModel):
    clip_id: int
    kind: DuplicateKind | None = Field(description="Null: only decided, nothing was found.")
    similarity: float | None = Field(
        description="1 for the same file; for the same recording, how far the fingerprints agree: "
        "1 less twice the share of bits that differ; for a repeat complaint, the cosine that "
        "a search tells."
    )
    decision: Decision | None


class Duplicates(BaseModel):
    duplicates: list[DuplicateView]


class PairView(BaseModel):
    clip_ids: tuple[int, int] = Field(description="The lower first.")
    kind: DuplicateKind | None
    similarity: float | None
    decision: Decision | None


class GroupView(BaseModel):
    clip_ids: list[int] = Field(description="Its members, rising.")
    keeper: int = Field(description="The member to keep: lossless, high rate, long, first.")
    pairs: list[PairView] = Field(
        description=f"The most alike first, up to {duplicates.LISTED}; of each file posted more "
        "than once, each clip with the first."
    )


class GroupPage(BaseModel):
    groups: list[GroupView]
    next_cursor: str | None


class Decisions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pairs: list[tuple[DuplicateId, DuplicateId]] = Field(min_length=1, max_length=MOST_PAIRS)
    action: Literal["confirm", "dismiss", "clear"]


class Decided(BaseModel):
    decided: int = Field(description="Number of different pairs.")


@router.get(
    "/clips/{clip_id}/duplicates",
    responses=responses(404),
    summary="Clips that are a clip's duplicates, or were decided to be or not to be",
)
def duplicates_of(
    clip_id: ClipId,
    limit: int = Query(100, ge=1, le=1000),
    library: Library = Depends(library_of),
) -> Duplicates:
    found = duplicates.of_clip(library, clip_id, limit)
    return Duplicates(duplicates=[DuplicateView(**one._asdict()) for one in found])


@router.get("/duplicates", responses=responses(), summary="Groups of duplicates")
def list_groups(
    kind: list[DuplicateKind] = Query(
        ["same_file", "same_recording"], description="Of the links that make groups; repeatable."
    ),
    decision: Decision | None = Query(
        None,
        description="Groups with a confirmed pair; or dismissed pairs, each alone.",
    ),
    limit: int = Query(50, ge=1, le=200),
    cursor: str | None = Query(None, description="next_cursor of the page before."),
    where: ClipFilter = Depends(Filters("decision", "limit", "cursor", repeatable=["kind"])),
    library: Library = Depends(library_of),
) -> GroupPage:
    """With filters: the groups that have a clip that matches."""
    after = None if cursor is None else _pair(cursor)
    found, last = duplicates.page(library, frozenset(kind), decision, where, limit, after)
    return GroupPage(
        groups=[
            GroupView(
                clip_ids=one.members,
                keeper=one.keeper,
                pairs=[PairView(**pair._asdict()) for pair in one.pairs],
            )
            for one in found
        ],
        next_cursor=None if last is None else f"{last[0]}-{last[1]}",
    )


def _pair(cursor: str) -> tuple[int, int]:
    match = re.fullmatch("([0-9]{1,19})-([0-9]{1,19})", cursor)
    if match is None or max(low_high := (int(match[1]), int(match[2]))) > MAX_ID:
        raise InvalidParameter("cursor", "is not one that this route gave out.")
    return low_high


@router.post(
    "/duplicates/decisions",
    responses=responses(400, 404),
    summary="Confirm or dismiss pairs of duplicates, or take that back",
)
def decide(asked: Decisions, library: Library = Depends(library_of)) -> Decided:
    """All pairs or none. A dismissed pair is never linked again, and its clips are never in one
    group. Nothing is deleted."""
    pairs = {(min(pair), max(pair)) for pair in asked.pairs}
    duplicates.decide(library, pairs, None if asked.action == "clear" else asked.action)
    return Decided(decided=len(pairs))
