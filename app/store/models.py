"""The models that this database's clips were recognised with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.domain import ModelInfo
from app.store.tables import ClipRow, ModelRow


def active(session: Session) -> ModelInfo | None:
    """The model that the database was decided for, or None in a new one."""
    row = session.scalar(select(ModelRow).where(ModelRow.active))
    return None if row is None else as_info(row)


def activate(session: Session, model: ModelInfo, prior_mean: NDArray[np.float32]) -> int:
    """Make `model` the active one, registering it if it is new; returns its row id.

    Args:
        prior_mean: (D,) the mean embedding assumed before any clip is stored.
    """
    session.execute(update(ModelRow).values(active=False))
    row = _registered(session, model, prior_mean)
    row.active, row.beside = True, False
    session.flush()
    return row.id


def beside(session: Session) -> ModelInfo | None:
    """The model that new clips are recognised by beside the active one."""
    row = session.scalar(select(ModelRow).where(ModelRow.beside))
    return None if row is None else as_info(row)


def place_beside(session: Session, model: ModelInfo, prior_mean: NDArray[np.float32]) -> int:
    """Have `model` beside the active one, and no other; arguments and answer as `activate`."""
    remove_beside(session)
    row = _registered(session, model, prior_mean)
    row.beside = True
    session.flush()
    return row.id


def remove_beside(session: Session) -> None:
    """No model is beside the active one any more; what it made stays."""
    session.execute(update(ModelRow).values(beside=False))


def set_roles(session: Session, active: int, beside: int) -> None:
    """Make the model with row id `active` the active one, and the one with row id `beside` the one
    beside it; all others are neither. Done again it changes nothing."""
    is_active, is_beside = ModelRow.id == active, ModelRow.id == beside
    concerned = ModelRow.active | ModelRow.beside | is_active | is_beside
    changes = update(ModelRow).where(concerned).values(active=is_active, beside=is_beside)
    session.execute(changes, execution_options={"synchronize_session": False})


def row_of(session: Session, digest: str) -> int:
    """The row id of a registered model."""
    return session.scalars(select(ModelRow.id).where(ModelRow.digest == digest)).one()


def _registered(session: Session, model: ModelInfo, prior_mean: NDArray[np.float32]) -> ModelRow:
    row = session.scalar(select(ModelRow).where(ModelRow.digest == model.digest))
    if row is None:
        row = ModelRow(
            digest=model.digest,
            name=model.id,
            dimension=model.dimension,
            bundled=model.bundled,
            active=False,
            prior_mean=prior_mean.astype("<f4").tobytes(),
        )
        session.add(row)
    return row


def register(session: Session, model: ModelInfo, prior_mean: NDArray[np.float32]) -> int:
    """The row id of what makes vectors of clips and recognises nothing in them; arguments as
    `activate`."""
    row = _registered(session, model, prior_mean)
    session.flush()
    return row.id


def prior_mean(session: Session, digest: str) -> NDArray[np.float32] | None:
    """The (D,) mean registered with a model, or None when the model is new here."""
    blob = session.scalar(select(ModelRow.prior_mean).where(ModelRow.digest == digest))
    return None if blob is None else np.frombuffer(blob, "<f4").astype(np.float32)


def named(session: Session, name: str) -> list[tuple[int, ModelInfo]]:
    """Row ids of the models with this id, or whose digest begins with it."""
    wanted = or_(ModelRow.name == name, ModelRow.digest.startswith(name, autoescape=True))
    return [(row.id, as_info(row)) for row in session.scalars(select(ModelRow).where(wanted))]


def clips_of_others(session: Session, digest: str) -> list[tuple[ModelInfo, int]]:
    """Other models, and how many clips that should be searchable each has embedded."""
    rows = session.execute(
        select(ModelRow, func.count(ClipRow.id))
        .join(ClipRow, ModelRow.id == ClipRow.model_id)
        .where(ModelRow.digest != digest, ClipRow.indexable)
        .group_by(ModelRow.id)
    )
    return [(as_info(row), count) for row, count in rows]


def as_info(row: ModelRow) -> ModelInfo:
    return ModelInfo(row.name, row.digest, row.dimension, row.bundled)
