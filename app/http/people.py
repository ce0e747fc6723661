"""Customers and agents: lists, and what the clips of one say over time."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.analysis.drift import evidence_at, false_alarm_rate
from app.analysis.timeline import Span
from app.domain import LABELS, NEGATIVE, PersonKind
from app.errors import InvalidParameter
from app.http.parameters import MAX_ID, Text, library_of, storable
from app.http.problems import responses
from app.http.schemas import Scores
from app.library import Library
from app.store import people, people_marks
from app.store.people import Person, Sort

MOST_HALF_LIFE = 36_500  # days
MOST_CURSOR = 4000  # characters; an id of 200 takes up to 3300

router = APIRouter(prefix="/api/v1", tags=["customers and agents"])

PersonId = Annotated[Text, Path(description="As the clips have it; it may have slashes.")]
Cursor = Annotated[
    str | None, Query(max_length=MOST_CURSOR, description="next_cursor of the page before.")
]


class DriftView(BaseModel):
    """Has the share of negative clips changed? The latest 1,000 clips are looked at, and the latest
    60 compared with those before."""

    flagged: bool = Field(description="By EMOSEEK_DRIFT_FALSE_ALARMS.")
    direction: Literal["worse", "improved"] = Field(
        description="Whether `since` is above `before` or below, flagged or not."
    )
    evidence: float = Field(
        description="Natural logarithm of how much likelier the clips are with a change than "
        "without, summed over where it may have been; at least 0."
    )
    false_alarm_rate: float = Field(
        description="Share of those without any change whose evidence reaches this within 100 "
        "clips; by simulation, 0.000001 at least."
    )
    before: float = Field(
        description="Baseline: negative share before the likeliest place of a change, drawn to "
        "that of all customers (or agents) where there are few clips."
    )
    since: float = Field(description="Negative share after it.")
    shift: float = Field(description="since − before.")
    clips_before: int = Field(description="Clips behind `before`.")
    clips_since: int = Field(description="Clips behind `since`.")
    changed_at: dt.datetime = Field(description="Of the first clip after it.")


class PersonView(BaseModel):
    """A customer or an agent."""

    id: str
    clips: int
    first: dt.datetime = Field(description="When the first clip was recorded, else stored.")
    last: dt.datetime
    heard: int = Field(
        description="Of the latest 1,000 clips, those whose emotion is known; an import may not "
        "have said."
    )
    negative_share: float | None = Field(
        description=f"Of those: {', '.join(NEGATIVE)}. Null where there is none."
    )
    level: float = Field(
        description="The negative share, drawn to that of all customers (or agents) where there "
        "are few clips."
    )
    drift: DriftView | None = Field(description="Null where fewer than 20 clips were heard.")

    @classmethod
    def of(cls, person: Person, flagged_at: float) -> PersonView:
        drift = person.drift
        return cls(
            id=person.id,
            clips=person.clips,
            first=person.first,
            last=person.last,
            heard=person.heard,
            negative_share=person.negative / person.heard if person.heard else None,
            level=person.level,
            drift=None
            if drift is None
            else DriftView(
                flagged=drift.evidence >= flagged_at,
                direction="worse" if drift.since > drift.before else "improved",
                evidence=drift.evidence,
                false_alarm_rate=false_alarm_rate(drift.evidence),
                before=drift.before,
                since=drift.since,
                shift=drift.since - drift.before,
                clips_before=drift.clips_before,
                clips_since=drift.clips_since,
                changed_at=drift.changed_at,
            ),
        )


class PersonPage(BaseModel):
    next_cursor: str | None = Field(description="For the next page; null on the last.")
    up_to_date: bool = Field(
        description="False while clips that were stored, changed or deleted lately are not "
        "counted yet."
    )


class CustomerPage(PersonPage):
    customers: list[PersonView]


class AgentPage(PersonPage):
    agents: list[PersonView]


class TimelinePoint(BaseModel):
    start: dt.date = Field(description="First day, in UTC; weeks begin on Monday.")
    clips: int
    heard: int = Field(description="Clips whose emotion is known.")
    negative_share: float | None = Field(description="Of those.")
    smooth_negative_share: float | None
    scores: Scores | None = Field(description="Means over the clips that have scores.")
    smooth_scores: Scores | None


class PersonBaseline(BaseModel):
    """How the negative share varies among all customers, or agents: a beta distribution."""

    mean: float
    concentration: float = Field(description="In clips: how many of one's own weigh as much.")


class TimelineAnswer(PersonView):
    """One customer or agent, of whom every clip is counted."""

    baseline: PersonBaseline
    span: Span
    half_life: float = Field(description="Days.")
    points: list[TimelinePoint] = Field(description="Spans that have clips, the oldest first.")
    next_cursor: str | None = Field(description="For the points before these; null: none are.")


class Listing:
    """Parameters of a list."""

    def __init__(
        self,
        sort: Sort = Query(
            "drift",
            description="drift: the most evidence of a change first. negative: the highest "
            "`level`. clips: the most.",
        ),
        flagged: Literal["true", "false"] = Query(
            "false", description="true: only those whose drift is flagged."
        ),
        limit: int = Query(50, ge=1, le=1000),
        cursor: Cursor = None,
    ) -> None:
        self.sort = sort
        self.flagged = flagged == "true"
        self.limit = limit
        self.after = None if cursor is None else _read_cursor(cursor, sort)


class Plot:
    """Parameters of a timeline."""

    def __init__(
        self,
        span: Span = Query("week", description="What a point is of."),
        half_life: float = Query(
            30.0,
            gt=0,
            le=MOST_HALF_LIFE,
            description="Days after which a clip weighs half as much in what is smoothed.",
        ),
        limit: int = Query(366, ge=1, le=2000, description="Points, the latest."),
        cursor: str | None = Query(None, description="next_cursor of the later points."),
    ) -> None:
        self.span = span
        self.half_life = half_life
        self.limit = limit
        self.before = None if cursor is None else _read_day(cursor)


@router.get("/customers", responses=responses(), summary="Customers, by drift or otherwise")
def list_customers(
    wanted: Listing = Depends(), library: Library = Depends(library_of)
) -> CustomerPage:
    """Whose clips have a customer_id. One whose place changes between two pages may be on both, or
    on neither."""
    views, rest = _page(library, "customer", wanted)
    return CustomerPage(customers=views, **rest)


@router.get("/agents", responses=responses(), summary="Agents, by drift or otherwise")
def list_agents(wanted: Listing = Depends(), library: Library = Depends(library_of)) -> AgentPage:
    """As the customers, by agent_id."""
    views, rest = _page(library, "agent", wanted)
    return AgentPage(agents=views, **rest)


@router.get(
    "/customers/{id:path}/timeline",
    responses=responses(404),
    summary="What a customer's clips say over time",
)
def customer_timeline(
    id: PersonId, wanted: Plot = Depends(), library: Library = Depends(library_of)
) -> TimelineAnswer:
    return _timeline(library, "customer", id, wanted)


@router.get(
    "/agents/{id:path}/timeline",
    responses=responses(404),
    summary="What an agent's clips say over time",
)
def agent_timeline(
    id: PersonId, wanted: Plot = Depends(), library: Library = Depends(library_of)
) -> TimelineAnswer:
    return _timeline(library, "agent", id, wanted)


def _page(
    library: Library, kind: PersonKind, wanted: Listing
) -> tuple[list[PersonView], dict[str, Any]]:
    flagged_at = evidence_at(library.settings.drift_false_alarms)
    with library.store.read() as session:
        found = people.page(
            session,
            kind,
            wanted.sort,
            wanted.limit + 1,
            wanted.after,
            flagged_at if wanted.flagged else 0.0,
        )
        behind = people_marks.any_left(session)
    shown, more = found[: wanted.limit], len(found) > wanted.limit
    cursor = _cursor(wanted.sort, shown[-1]) if more else None
    views = [PersonView.of(person, flagged_at) for person in shown]
    return views, {"next_cursor": cursor, "up_to_date": not behind}


def _timeline(library: Library, kind: PersonKind, id: str, wanted: Plot) -> TimelineAnswer:
    history = library.people.history(kind, id, wanted.span, wanted.half_life)
    line = history.timeline
    end = len(line.starts)
    if wanted.before is not None:
        end = int(np.searchsorted(line.starts, wanted.before))
    first = max(0, end - wanted.limit)
    view = PersonView.of(history.person, evidence_at(library.settings.drift_false_alarms))
    return TimelineAnswer(
        **dict(view),
        baseline=PersonBaseline(
            mean=history.baseline.mean, concentration=history.baseline.concentration
        ),
        span=wanted.span,
        half_life=wanted.half_life,
        points=[
            TimelinePoint(
                start=line.starts[place].item(),
                clips=line.clips[place],
                heard=line.heard[place],
                negative_share=_known(line.negative[place]),
                smooth_negative_share=_known(line.smooth_negative[place]),
                scores=_by_label(line.scores[place]),
                smooth_scores=_by_label(line.smooth_scores[place]),
            )
            for place in range(first, end)
        ],
        next_cursor=str(line.starts[first]) if first else None,
    )


def _known(share: float) -> float | None:
    return None if math.isnan(share) else float(share)


def _by_label(scores: NDArray[np.float64]) -> Scores | None:
    return None if np.isnan(scores).any() else dict(zip(LABELS, scores.tolist(), strict=True))


def _cursor(sort: Sort, last: Person) -> str:
    value = {
        "drift": 0.0 if last.drift is None else last.drift.evidence,
        "negative": last.level,
        "clips": last.clips,
    }[sort]
    return base64.urlsafe_b64encode(json.dumps([sort, value, last.id]).encode()).decode()


def _read_cursor(cursor: str, sort: Sort) -> tuple[float, str]:
    """What the last one of the page before is sorted by, and the id."""
    try:
        order, value, id = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if (
            order == sort
            and type(value) is (int if sort == "clips" else float)
            and 0 <= value <= MAX_ID
            and 0 < len(id) <= 200
        ):
            return value, storable(id)
    except (ValueError, TypeError, RecursionError):
        pass
    raise InvalidParameter("cursor", "is not one that this route gave out for this order.")


def _read_day(cursor: str) -> np.datetime64:
    refused = InvalidParameter("cursor", "is not one that this route gave out.")
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cursor) is None:
        raise refused
    try:
        return np.datetime64(cursor, "D")
    except ValueError as exc:
        raise refused from exc
