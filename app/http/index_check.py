"""Is the index what the database says it should be?"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from app.errors import Conflict
from app.http.hang_up import while_connected
from app.http.parameters import library_of
from app.http.problems import responses
from app.library import Library, index_check
from app.library.index_check import KINDS, IndexCheck, Kind, Repair
from app.recogniser import Flow

SHOWN = 10  # ids of a kind

router = APIRouter(prefix="/api/v1/admin/index", tags=["operations"])


class Fault(BaseModel):
    count: int = Field(description="Clips.")
    clip_ids: list[int] = Field(description=f"The first {SHOWN} of them, ascending.")


class CheckView(BaseModel):
    """What the database and the index differ in."""

    clean: bool = Field(description="They differ in nothing.")
    compared: int = Field(description="Clips that should be in the index.")
    faults: dict[Kind, Fault] = Field(
        description="By kind. " + "; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + "."
    )
    misplaced: int = Field(
        description="Rows of the index that its own structure does not count as they are stored."
    )

    @classmethod
    def of(cls, found: IndexCheck) -> CheckView:
        return cls(
            clean=found.clean,
            compared=found.compared,
            faults={
                kind: Fault(count=len(ids), clip_ids=ids[:SHOWN].tolist())
                for kind, ids in found.faults.items()
            },
            misplaced=found.misplaced,
        )


class RepairView(BaseModel):
    """What was done about it."""

    added: int = Field(description="Clips that were missing.")
    removed: int = Field(description="Clips that were phantoms.")
    renewed: int = Field(description="Clips that were duplicated, zeroed or wrong.")
    rebuilt: bool = Field(description="By a new build of the whole index.")

    @classmethod
    def of(cls, done: Repair) -> RepairView:
        return cls(
            added=done.added, removed=done.removed, renewed=done.renewed, rebuilt=done.rebuilt
        )


class IndexCheckAnswer(BaseModel):
    found: CheckView
    repair: RepairView | None = Field(description="Null where nothing was to be done or wanted.")
    left: CheckView | None = Field(description="The check after the repair.")


@router.post("/check", responses=responses(409), summary="Compare the index with the database")
async def check_index(
    request: Request,
    repair: bool = Query(False, description="Mend what is found, and check again."),
    library: Library = Depends(library_of),
) -> IndexCheckAnswer:
    """Every vector is read and compared, a minute or two for a million clips, beside searches and
    changes: a clip that is added or deleted meanwhile is no fault."""
    flow = Flow()
    return await while_connected(request, flow, lambda: _check(library, repair, flow))


def _check(library: Library, repair: bool, flow: Flow) -> IndexCheckAnswer:
    space = library.spaces.active

    def go_on() -> None:
        library.gate.check(flow)

    def check() -> IndexCheck:
        return index_check.check(library.store, space.model_row, space.index, go_on)

    if not library.index_check.acquire(blocking=False):
        raise Conflict("The index is being checked already.")
    try:
        found = check()
        if found.clean or not repair:
            return IndexCheckAnswer(found=CheckView.of(found), repair=None, left=None)
        done = index_check.repair(space.index, found, go_on)
        return IndexCheckAnswer(
            found=CheckView.of(found), repair=RepairView.of(done), left=CheckView.of(check())
        )
    finally:
        library.index_check.release()
