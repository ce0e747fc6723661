"""Classifiers on users' own labels: trained, listed, applied to old clips, asked for scores."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, FailFast, Field

from app.domain import ClipFilter
from app.errors import InvalidParameter, NotFound
from app.http.filter_body import FilterBody
from app.http.hang_up import while_connected
from app.http.parameters import MAX_ID, Filters, Text, library_of
from app.http.problems import responses
from app.http.schemas import NOT_KNOWN
from app.library import Library
from app.recogniser import Flow
from app.store import classifier_scores
from app.store.classifier_applies import Apply, State
from app.store.classifiers import Classifier
from app.store.summaries import ClipSummary

MAX_LABELS = 20_000  # as many embeddings are in memory, some times over
CURSOR = re.compile(r"([0-9.e-]{1,24}):([0-9]{1,19})", re.ASCII)

ClassifierId = Annotated[int, Path(ge=1, le=2**31 - 1, description="A classifier's id.")]

router = APIRouter(prefix="/api/v1/classifiers", tags=["classifiers"])


class ClipLabel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clip_id: Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
    label: Text = Field(description="What the clip is; any words.")


class ClassifierBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field(description="Of no other classifier; answers tell its scores by this.")
    labels: Annotated[list[ClipLabel], FailFast()] = Field(
        min_length=2,
        max_length=MAX_LABELS,
        description="Two labels or more (20 at most), each on clips of two customers or more; no "
        "clip twice. A clip without a customer counts as one by itself.",
    )
    filters: FilterBody | None = Field(
        None, description="Of the labelled clips train on those that match only."
    )


class EstimateView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    value: float
    low: float | None = Field(description="Of the 95 % interval (bootstrap by customers).")
    high: float | None = Field(description="Null, as low, where customers are too few for it.")


class LabelQuality(BaseModel):
    """Of one label against all others."""

    clips: int
    groups: int = Field(description="Customers that have clips of it.")
    share: float = Field(description="Of all labelled clips: the average precision of guessing.")
    roc_auc: float
    average_precision: float
    precision: float | None = Field(description="Null where it was never the most probable.")
    recall: float
    f1: float


class QualityView(BaseModel):
    """Cross-validated: each clip was judged by a classifier trained without its customer."""

    clips: int = Field(description="That it was trained on.")
    groups: int = Field(description="Customers; each clip without one counts as one.")
    folds: int
    roc_auc: EstimateView = Field(description="Mean over the labels, each against the rest.")
    average_precision: EstimateView = Field(description="Mean over the labels.")
    balanced_accuracy: EstimateView = Field(description="Mean of the labels' recalls.")
    f1: EstimateView = Field(description="Mean over the labels.")
    accuracy: float
    majority_class: str
    majority_share: float = Field(
        description="Share of the most frequent label: the accuracy of always saying it."
    )
    classes: dict[str, LabelQuality]
    confusion: dict[str, dict[str, int]] = Field(
        description="Clips by actual, then by most probable label."
    )
    limits: list[str] = Field(description="Why these figures may be wrong.")


class ApplyView(BaseModel):
    """The apply that is under way, or the last one."""

    state: State
    done: int = Field(description="Clips that it has scored.")
    total: int = Field(
        description="Clips that were to be scored; 0 until it is trained for the active model."
    )
    counts: dict[str, int] = Field(description="Those of `done`, by their most probable label.")
    started: dt.datetime
    finished: dt.datetime | None = Field(description="Null while it is running.")
    message: str | None

    @classmethod
    def of(cls, apply: Apply) -> ApplyView:
        return cls.model_validate(apply, from_attributes=True)


class ClassifierView(BaseModel):
    """A classifier, as it is asked about the active model's embeddings."""

    id: int
    name: str
    created_at: dt.datetime
    labels: dict[str, int] = Field(description="Labelled clips that are still stored, by label.")
    model: str = Field(description="Id of the active model.")
    state: Literal["trained", "waiting", "untrained"] = Field(
        description="For the active model. After a change of models it is trained anew by itself; "
        "untrained: it cannot be, the message says why."
    )
    message: str | None
    trained_at: dt.datetime | None
    quality: QualityView | None = Field(description="Null until it is trained.")
    apply: ApplyView | None = Field(description="Null where it was not applied to old clips.")

    @classmethod
    def of(cls, one: Classifier, library: Library) -> ClassifierView:
        refusal = None if one.fit_id else library.classifier_upkeep.refusal(one.id)
        untrained: Literal["waiting", "untrained"] = "waiting" if refusal is None else "untrained"
        return cls(
            id=one.id,
            name=one.name,
            created_at=one.created_at,
            labels=one.labels,
            model=library.spaces.active.model.id,
            state="trained" if one.fit_id else untrained,
            message=refusal,
            trained_at=one.trained_at,
            quality=None if one.quality is None else QualityView.model_validate(one.quality),
            apply=None if one.apply is None else ApplyView.of(one.apply),
        )


class ClassifierList(BaseModel):
    classifiers: list[ClassifierView]


class ScoreView(BaseModel):
    clip_id: int
    label: str
    probability: float = Field(description="Of that label; calibrated, in [0, 1].")
    emotion: str | None = Field(description=NOT_KNOWN)
    confidence: float | None = Field(description=NOT_KNOWN)
    customer_id: str | None
    call_id: str | None
    agent_id: str | None
    recorded_at: dt.datetime | None
    duration: float | None = Field(description=f"Seconds. {NOT_KNOWN}")
    tags: list[str]


class ScorePage(BaseModel):
    scores: list[ScoreView] = Field(description="Highest probability first.")
    next_cursor: str | None = Field(description="For the next page; null on the last.")


@router.post(
    "", status_code=201, responses=responses(409, 429), summary="Train a classifier on labels"
)
async def train_classifier(
    request: Request, wanted: ClassifierBegin, library: Library = Depends(library_of)
) -> ClassifierView:
    """Answers when it is trained: seconds for hundreds of labels, minutes for many thousand. From
    then on new clips are scored by it; old ones by `apply`. 422 names clips that are not stored,
    or have no embedding of the active model; 409 where the name is taken."""
    flow = Flow()
    labels = [(one.clip_id, one.label) for one in wanted.labels]
    where = wanted.filters.wanted() if wanted.filters else ClipFilter()
    return await while_connected(
        request,
        flow,
        lambda: ClassifierView.of(
            library.classifiers.train(wanted.name, labels, where, flow), library
        ),
    )


@router.get("", responses=responses(), summary="All classifiers")
def list_classifiers(library: Library = Depends(library_of)) -> ClassifierList:
    every = library.classifiers.every()
    return ClassifierList(classifiers=[ClassifierView.of(one, library) for one in every])


@router.get("/{classifier_id}", responses=responses(404), summary="One classifier")
def get_classifier(
    classifier_id: ClassifierId, library: Library = Depends(library_of)
) -> ClassifierView:
    return ClassifierView.of(library.classifiers.get(classifier_id), library)


@router.delete(
    "/{classifier_id}", status_code=204, responses=responses(404), summary="Delete a classifier"
)
def delete_classifier(classifier_id: ClassifierId, library: Library = Depends(library_of)) -> None:
    """With its labels and scores."""
    if not library.classifiers.remove(classifier_id):
        raise NotFound(f"There is no classifier {classifier_id}.")


@router.post(
    "/{classifier_id}/apply",
    status_code=202,
    responses=responses(404, 409),
    summary="Score old clips",
)
def apply_classifier(
    classifier_id: ClassifierId, library: Library = Depends(library_of)
) -> ApplyView:
    """In the background: every stored clip that has an embedding of the active model and no score
    by this classifier yet. It goes on after a restart of the service; once another model is the
    active one, the clips are scored anew by itself. 409 `under-way` while it is."""
    return ApplyView.of(library.classifier_upkeep.apply(classifier_id))


@router.get("/{classifier_id}/apply", responses=responses(404), summary="How far that has come")
def get_apply(classifier_id: ClassifierId, library: Library = Depends(library_of)) -> ApplyView:
    return ApplyView.of(library.classifier_upkeep.applied(classifier_id))


@router.post("/{classifier_id}/apply/stop", responses=responses(404, 409), summary="Stop that")
def stop_apply(classifier_id: ClassifierId, library: Library = Depends(library_of)) -> ApplyView:
    """The scores so far stay, and the next apply goes on with the rest. 409 when none is under
    way."""
    return ApplyView.of(library.classifier_upkeep.stop(classifier_id))


@router.get("/{classifier_id}/scores", responses=responses(404), summary="Clips by probability")
def get_scores(
    classifier_id: ClassifierId,
    label: Text | None = Query(
        None,
        description="Every scored clip by its probability of this label, also where another one "
        "is more probable. Left out: every clip by its most probable label's.",
    ),
    min_probability: float = Query(0.0, ge=0, le=1, description="Of that label, at least."),
    limit: int = Query(50, ge=1, le=1000),
    cursor: str | None = Query(None, description="next_cursor of the page before."),
    where: ClipFilter = Depends(Filters("label", "min_probability", "limit", "cursor")),
    library: Library = Depends(library_of),
) -> ScorePage:
    """Of clips that were scored by it as the active model hears them."""
    one = library.classifiers.get(classifier_id)
    classes = one.classes or ()
    if label is not None and label not in (classes or one.labels):
        names = ", ".join(map(repr, classes or one.labels))
        raise InvalidParameter("label", f"is none of {names}.")
    numbers = [number for number, name in enumerate(classes) if label in (None, name)]
    before = None if cursor is None else _read_cursor(cursor)
    found: list[classifier_scores.Ranked] = []
    if one.fit_id is not None:
        found = library.classifiers.ranked(
            one.fit_id,
            numbers,
            where,
            limit + 1,
            top_only=label is None,
            least=min_probability,
            before=before,
        )
    page, last = found[:limit], found[limit - 1] if len(found) > limit else None
    summaries = library.summaries.of([score.clip_id for score in page])
    return ScorePage(
        scores=[
            ScoreView(
                clip_id=score.clip_id,
                label=classes[score.class_number],
                probability=score.probability,
                **_said(summaries[score.clip_id]),
            )
            for score in page
            if score.clip_id in summaries  # else it was deleted since
        ],
        next_cursor=None if last is None else f"{last.probability!r}:{last.clip_id}",
    )


def _said(clip: ClipSummary) -> dict[str, Any]:
    return {name: value for name, value in clip._asdict().items() if name != "id"}


def _read_cursor(text: str) -> tuple[float, int]:
    match = CURSOR.fullmatch(text)
    try:
        if match is not None and int(match[2]) <= MAX_ID:
            return float(match[1]), int(match[2])
    except ValueError:
        pass
    raise InvalidParameter("cursor", "is not one that this route gave out.")
