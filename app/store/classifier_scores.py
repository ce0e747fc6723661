"""What classifiers say of clips: the probability of each class."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, select, tuple_
from sqlalchemy.orm import Session

from app.domain import ClipFilter
from app.store.analysis_tables import ClassifierFitRow, ClassifierRow, ClassifierScoreRow
from app.store.embeddings import CHUNK
from app.store.filters import conditions
from app.store.tables import Base, ClipRow, EmbeddingRow

CLIPS, EMBEDDINGS, CLASSIFIERS, FITS, SCORES = (
    Base.metadata.tables[row.__tablename__]
    for row in (ClipRow, EmbeddingRow, ClassifierRow, ClassifierFitRow, ClassifierScoreRow)
)
ADD_SCORE = insert(SCORES)

Said = tuple[str, float]  # the most probable class and its probability


class Ranked(NamedTuple):
    """A clip, a class of it by its place among the fit's, and the probability of that."""

    clip_id: int
    class_number: int
    probability: float


def add(
    session: Session,
    fit_id: int,
    clip_ids: Sequence[int],
    probabilities: NDArray[np.float64],
) -> bool:
    """Store what a fit says of clips that were stored in this transaction: (n, K), finite. False:
    the fit was given up, and nothing is stored."""
    if not _is_live(session, fit_id):
        return False
    _insert(session, fit_id, clip_ids, probabilities)
    return True


def add_block(
    session: Session, fit_id: int, clip_ids: Sequence[int], probabilities: NDArray[np.float64]
) -> list[int]:
    """Store what a fit says of up to CHUNK stored clips, ascending: (n, K), finite. Those that
    were deleted meanwhile, or have its scores already, are left out.

    Returns:
        Places of the others.
    """
    assert len(clip_ids) <= CHUNK
    if not _is_live(session, fit_id):
        return []
    # Locked: a deletion that commits in between would leave nothing to refer to.
    lacking = session.connection().scalars(
        select(CLIPS.c.id)
        .where(CLIPS.c.id.in_(clip_ids), ~_scored(fit_id, CLIPS.c.id))
        .with_for_update(read=True, key_share=True)
    )
    wanted = set(lacking)
    places = [place for place, clip_id in enumerate(clip_ids) if clip_id in wanted]
    _insert(session, fit_id, [clip_ids[place] for place in places], probabilities[places])
    return places


def unscored(
    session: Session, fit_id: int, model_id: int, after: int, limit: int
) -> tuple[list[int], NDArray[np.float32]]:
    """Ids and embeddings (n, D) by a model, whose fit it must be, of the first `limit` clips
    beyond id `after` that the fit has not scored."""
    rows = (
        session.connection()
        .execute(
            select(EMBEDDINGS.c.clip_id, EMBEDDINGS.c.vector)
            .where(EMBEDDINGS.c.clip_id > after, *_is_unscored(fit_id, model_id))
            .order_by(EMBEDDINGS.c.clip_id)
            .limit(limit)
        )
        .fetchall()
    )
    joined = np.frombuffer(b"".join([row[1] for row in rows]), "<f4").astype(np.float32)
    return [row[0] for row in rows], joined.reshape(len(rows), -1 if rows else 0)


def count_unscored(session: Session, fit_id: int, model_id: int) -> int:
    """Number of clips that `unscored` gives in all."""
    query = select(func.count()).select_from(EMBEDDINGS).where(*_is_unscored(fit_id, model_id))
    return session.connection().scalar(query) or 0


def of_clip(session: Session, clip_id: int, model_id: int) -> dict[str, Said]:
    """What the fits of a model say of a clip, by name of the classifier."""
    query = (
        select(CLASSIFIERS.c.name, FITS.c.classes, SCORES.c.class_number, SCORES.c.probability)
        .join(FITS, FITS.c.id == SCORES.c.fit_id)
        .join(CLASSIFIERS, CLASSIFIERS.c.id == FITS.c.classifier_id)
        .where(SCORES.c.clip_id == clip_id, SCORES.c.is_top, FITS.c.model_id == model_id)
        .order_by(CLASSIFIERS.c.name)
    )
    rows = session.connection().execute(query)
    return {name: (classes[number], probability) for name, classes, number, probability in rows}


def ranked(
    session: Session,
    fit_id: int,
    class_numbers: Sequence[int],
    wanted: ClipFilter,
    limit: int,
    *,
    top_only: bool,
    least: float = 0.0,
    before: tuple[float, int] | None = None,
    among: Sequence[int] | None = None,
) -> list[Ranked]:
    """Clips that match by falling probability of a class, equal ones by falling id.

    Args:
        class_numbers: of which classes; with `top_only` a clip is told with its most probable.
        least: probability at least.
        before: probability and id that all are below, in this order.
        among: ids of the clips that match, where they are known to be few.
    """
    query = select(SCORES.c.clip_id, SCORES.c.class_number, SCORES.c.probability).where(
        SCORES.c.fit_id == fit_id, SCORES.c.probability >= least
    )
    if top_only:
        query = query.where(SCORES.c.is_top)
    if before is not None:
        query = query.where(tuple_(SCORES.c.probability, SCORES.c.clip_id) < before)
    if among is not None:
        return heapq.nlargest(limit, _of_clips(session, query, class_numbers, among), key=_place)
    if wanted:
        matches = conditions(wanted, by_id=True)
        query = query.join(CLIPS, CLIPS.c.id == SCORES.c.clip_id).where(*matches)
    query = query.order_by(SCORES.c.probability.desc(), SCORES.c.clip_id.desc()).limit(limit)
    of_class = (query.where(SCORES.c.class_number == number) for number in class_numbers)
    found = [map(Ranked._make, session.connection().execute(one).all()) for one in of_class]
    return list(itertools.islice(heapq.merge(*found, key=_place, reverse=True), limit))


def _place(one: Ranked) -> tuple[float, int]:
    return one.probability, one.clip_id


def _of_clips(
    session: Session, query: Select[Any], class_numbers: Sequence[int], clip_ids: Sequence[int]
) -> Iterator[Ranked]:
    of_class = query.where(SCORES.c.class_number.in_(class_numbers))
    for start in range(0, len(clip_ids), CHUNK):
        some = of_class.where(SCORES.c.clip_id.in_(clip_ids[start : start + CHUNK]))
        yield from (Ranked(*row) for row in session.connection().execute(some))


def remove_block(session: Session, fit_id: int, limit: int) -> int:
    """Delete a fit's scores of up to `limit` clips; returns how many rows that were."""
    some = select(SCORES.c.clip_id).where(SCORES.c.fit_id == fit_id).limit(limit)
    clip_ids = set(session.connection().scalars(some))
    of_these = delete(SCORES).where(SCORES.c.fit_id == fit_id, SCORES.c.clip_id.in_(clip_ids))
    return session.connection().execute(of_these).rowcount if clip_ids else 0


def _insert(
    session: Session, fit_id: int, clip_ids: Iterable[int], probabilities: NDArray[np.float64]
) -> None:
    top = probabilities.argmax(axis=1).tolist()
    rows: list[dict[str, Any]] = [
        {
            "clip_id": clip_id,
            "fit_id": fit_id,
            "class_number": number,
            "probability": probability,
            "is_top": number == most,
        }
        for clip_id, of_clip, most in zip(clip_ids, probabilities.tolist(), top, strict=True)
        for number, probability in enumerate(of_clip)
    ]
    if rows:
        session.connection().execute(ADD_SCORE, rows)


def _is_live(session: Session, fit_id: int) -> bool:
    """Whether its classifier was not deleted; the fit stays until the commit."""
    its = select(FITS.c.classifier_id).where(FITS.c.id == fit_id)
    return session.connection().scalar(its.with_for_update(read=True, key_share=True)) is not None


def _is_unscored(fit_id: int, model_id: int) -> tuple[ColumnElement[bool], ...]:
    return EMBEDDINGS.c.model_id == model_id, ~_scored(fit_id, EMBEDDINGS.c.clip_id)


def _scored(fit_id: int, clip_id: ColumnElement[int]) -> ColumnElement[bool]:
    of_clip = SCORES.alias("its")
    return exists().where(of_clip.c.clip_id == clip_id, of_clip.c.fit_id == fit_id)
