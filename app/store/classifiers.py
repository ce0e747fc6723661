"""Classifiers: their names, the labels that they learn from, and what they learnt."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, RowMapping, Select, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.store import classifier_applies
from app.store.analysis_tables import ClassifierFitRow, ClassifierLabelRow, ClassifierRow
from app.store.classifier_applies import Apply
from app.store.embeddings import CHUNK
from app.store.tables import Base, ClipRow, ModelRow

CLIPS, CLASSIFIERS, LABELS, FITS = (
    Base.metadata.tables[row.__tablename__]
    for row in (ClipRow, ClassifierRow, ClassifierLabelRow, ClassifierFitRow)
)
DTYPE = "<f8"  # of stored parameters
DTYPES = ("<f4", "<f8")  # that are read


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """What a fit has learnt: K classes, D dimensions."""

    classes: tuple[str, ...]
    mean: NDArray[np.float64]  # (D,)
    scale: NDArray[np.float64]  # (D,)
    weights: NDArray[np.float64]  # (K, D)
    bias: NDArray[np.float64]  # (K,)


ARRAYS = ("mean", "scale", "weights", "bias")


@dataclasses.dataclass(frozen=True, slots=True)
class StoredFit:
    """A fit of a classifier that was not deleted. Its parameters are still bytes."""

    id: int
    classifier_id: int
    name: str  # of the classifier
    model_id: int
    row: RowMapping

    def parameters(self) -> Parameters:
        """Raises ValueError: the bytes are not what their shapes say."""
        row = self.row
        if row["dtype"] not in DTYPES:
            raise ValueError(f"parameters of the type {row['dtype']!r}")
        return Parameters(
            tuple(row["classes"]),
            *(
                np.frombuffer(row[name], row["dtype"])
                .reshape(row["shapes"][name])
                .astype(np.float64)
                for name in ARRAYS
            ),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Classifier:
    """What is told of a classifier. The last five are of the model that was asked about: None,
    where it was not trained for it; `apply` is None where nobody asked for one."""

    id: int
    name: str
    created_at: dt.datetime
    labels: dict[str, int]  # how many clips have each
    fit_id: int | None
    trained_at: dt.datetime | None
    classes: tuple[str, ...] | None
    quality: dict[str, Any] | None
    apply: Apply | None


def add(session: Session, name: str, now: dt.datetime) -> int:
    """Returns the id of a new classifier, which is not whole before `complete`.

    Raises:
        Conflict: there is one of this name.
    """
    try:
        with session.begin_nested():
            row = ClassifierRow(name=name, created_at=now, is_whole=False)
            session.add(row)
            session.flush()
    except IntegrityError as exc:
        raise named_already(name) from exc
    return row.id


def complete(session: Session, classifier_id: int) -> None:
    """All that it is to have is stored."""
    its = CLASSIFIERS.update().where(CLASSIFIERS.c.id == classifier_id)
    session.connection().execute(its.values(is_whole=True))


def remove_unfinished(session: Session) -> None:
    """Delete what an earlier process has left half stored."""
    session.connection().execute(delete(CLASSIFIERS).where(~CLASSIFIERS.c.is_whole))


def named_already(name: str) -> Conflict:
    return Conflict(f"There is a classifier named {name!r} already.")


def is_named(session: Session, name: str) -> bool:
    return session.scalar(select(CLASSIFIERS.c.id).where(CLASSIFIERS.c.name == name)) is not None


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(CLASSIFIERS)) or 0


def remove(session: Session, classifier_id: int) -> bool:
    """Delete a classifier with its labels. Its fits are orphaned: their scores are still to be
    removed, and no query but those for that finds them. False: there is no such classifier."""
    # Locked first, in the order that everybody locks them in: classifier, apply, fit.
    its = CLASSIFIERS.c.id == classifier_id
    session.connection().scalar(select(CLASSIFIERS.c.id).where(its).with_for_update())
    classifier_applies.locked(session, classifier_id)
    return session.connection().execute(delete(CLASSIFIERS).where(its)).rowcount == 1


def customers(session: Session, clip_ids: Sequence[int]) -> dict[int, str | None]:
    """Those of the clips that exist, each with its customer."""
    found: dict[int, str | None] = {}
    for chunk in _chunks(clip_ids):
        query = select(CLIPS.c.id, CLIPS.c.customer_id).where(CLIPS.c.id.in_(chunk))
        found.update(tuple(row) for row in session.connection().execute(query))
    return found


def add_labels(session: Session, classifier_id: int, labels: Mapping[int, str]) -> None:
    """The labels of those of the clips that still exist, by clip."""
    connection = session.connection()
    for chunk in _chunks(sorted(labels)):
        # Locked: a deletion that commits in between would leave nothing to refer to.
        there = connection.scalars(
            select(CLIPS.c.id)
            .where(CLIPS.c.id.in_(chunk))
            .order_by(CLIPS.c.id)
            .with_for_update(read=True, key_share=True)
        )
        if rows := [
            {"classifier_id": classifier_id, "clip_id": clip_id, "label": labels[clip_id]}
            for clip_id in there
        ]:
            connection.execute(insert(LABELS), rows)


def labels_of(session: Session, classifier_id: int) -> dict[int, str]:
    """By clip, ascending."""
    query = select(LABELS.c.clip_id, LABELS.c.label).where(LABELS.c.classifier_id == classifier_id)
    rows = session.connection().execute(query.order_by(LABELS.c.clip_id))
    return {row.clip_id: row.label for row in rows}


def add_fit(
    session: Session,
    classifier_id: int,
    model_id: int,
    learnt: Parameters,
    quality: dict[str, Any],
    now: dt.datetime,
) -> int:
    """Returns the id of what a classifier learnt from a model's embeddings."""
    arrays = {name: getattr(learnt, name).astype(DTYPE) for name in ARRAYS}
    inserted = session.connection().execute(
        insert(FITS),
        {
            "classifier_id": classifier_id,
            "model_id": model_id,
            "trained_at": now,
            "classes": list(learnt.classes),
            "dtype": DTYPE,
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
            **{name: array.tobytes() for name, array in arrays.items()},
            "quality": quality,
        },
    )
    assert inserted.inserted_primary_key is not None
    fit_id: int = inserted.inserted_primary_key[0]
    return fit_id


def fits(session: Session) -> list[StoredFit]:
    """All that may be asked, by name of the classifier."""
    query = (
        select(FITS, CLASSIFIERS.c.name)
        .join(CLASSIFIERS, CLASSIFIERS.c.id == FITS.c.classifier_id)
        .order_by(CLASSIFIERS.c.name)
    )
    return [
        StoredFit(row["id"], row["classifier_id"], row["name"], row["model_id"], row)
        for row in session.connection().execute(query).mappings()
    ]


def every(session: Session, model_id: int) -> list[Classifier]:
    """All classifiers by their ids, as of a model."""
    return _told(session, model_id, _query(model_id).order_by(CLASSIFIERS.c.id))


def get(session: Session, classifier_id: int, model_id: int) -> Classifier | None:
    found = _told(session, model_id, _query(model_id).where(CLASSIFIERS.c.id == classifier_id))
    return found[0] if found else None


def untrained(session: Session, model_id: int) -> list[int]:
    """Ids of the classifiers that were not trained for a model."""
    trained = select(FITS.c.classifier_id).where(
        FITS.c.model_id == model_id, FITS.c.classifier_id.is_not(None)
    )
    whole = CLASSIFIERS.c.is_whole
    query = select(CLASSIFIERS.c.id).where(whole, CLASSIFIERS.c.id.not_in(trained))
    return list(session.connection().scalars(query.order_by(CLASSIFIERS.c.id)))


def without_role(session: Session) -> list[int]:
    """Ids of the fits of models that are neither the active one nor beside it."""
    has_none = ~(ModelRow.active | ModelRow.beside)
    query = select(FITS.c.id).join(ModelRow, ModelRow.id == FITS.c.model_id).where(has_none)
    return list(session.scalars(query.where(FITS.c.classifier_id.is_not(None))))


def orphan(session: Session, fit_ids: Sequence[int]) -> None:
    """They are asked no more, and their scores are to be removed."""
    of_these = FITS.update().where(FITS.c.id.in_(fit_ids))
    session.connection().execute(of_these.values(classifier_id=None))


def orphans(session: Session) -> list[int]:
    """Ids of the fits whose scores are to be removed."""
    return list(session.scalars(select(FITS.c.id).where(FITS.c.classifier_id.is_(None))))


def remove_fit(session: Session, fit_id: int) -> None:
    """Of which no score is left."""
    session.connection().execute(delete(FITS).where(FITS.c.id == fit_id))


def _query(model_id: int) -> Select[Any]:
    of_model = (FITS.c.classifier_id == CLASSIFIERS.c.id) & (FITS.c.model_id == model_id)
    told = FITS.c.id.label("fit_id"), FITS.c.trained_at, FITS.c.classes, FITS.c.quality
    query = select(CLASSIFIERS, *told).join(FITS, of_model, isouter=True)
    return query.where(CLASSIFIERS.c.is_whole)


def _told(session: Session, model_id: int, query: Select[Any]) -> list[Classifier]:
    rows: list[Row[Any]] = list(session.connection().execute(query))
    ids = [row.id for row in rows]
    applies = classifier_applies.of(session, ids)
    number = func.count().label("number")
    counted = select(LABELS.c.classifier_id, LABELS.c.label, number).where(
        LABELS.c.classifier_id.in_(ids)
    )
    labels: dict[int, dict[str, int]] = {}
    for classifier_id, label, clips in session.connection().execute(
        counted.group_by(LABELS.c.classifier_id, LABELS.c.label).order_by(LABELS.c.label)
    ):
        labels.setdefault(classifier_id, {})[label] = clips
    return [
        Classifier(
            id=row.id,
            name=row.name,
            created_at=row.created_at,
            labels=labels.get(row.id, {}),
            fit_id=row.fit_id,
            trained_at=row.trained_at,
            classes=None if row.classes is None else tuple(row.classes),
            quality=row.quality,
            apply=applies.get(row.id),
        )
        for row in rows
    ]


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
