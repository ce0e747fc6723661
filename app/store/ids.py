"""Clip ids: the database's sequence, and ids that an import brings along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.store.embeddings import CHUNK
from app.store.tables import ClipRow, DoomedFilesRow

HIGHEST_GIVEN = 2**53 - 1  # the largest whole number that every JSON reader takes as it is

NEXT_SQLITE = text("UPDATE sqlite_sequence SET seq = seq + :n WHERE name = 'clips' RETURNING seq")
NEXT_POSTGRES = text(
    "SELECT nextval(pg_get_serial_sequence('clips', 'id')) FROM generate_series(1, :n)"
)
SKIP_SQLITE = text(
    "UPDATE sqlite_sequence SET seq = :highest WHERE name = 'clips' AND seq < :highest"
)
SKIP_POSTGRES = text(
    "SELECT setval(pg_get_serial_sequence('clips', 'id'), :highest) FROM clips_id_seq "
    "WHERE last_value <= :highest"
)


def draw(session: Session, count: int) -> NDArray[np.int64]:
    """(count,) rising ids that no clip ever has but those that they are drawn for."""
    if _is_sqlite(session):
        _begin_sequence(session)
        last = session.scalar(NEXT_SQLITE, {"n": count})
        assert last is not None
        return np.arange(last - count + 1, last + 1, dtype=np.int64)
    session.execute(text("LOCK TABLE clips IN ROW EXCLUSIVE MODE"))  # waits for skip_to
    return np.sort(np.fromiter(session.scalars(NEXT_POSTGRES, {"n": count}), np.int64))


def skip_to(session: Session, highest: int) -> None:
    """Ids that are drawn from now on are above `highest`."""
    if _is_sqlite(session):
        _begin_sequence(session)
        session.execute(SKIP_SQLITE, {"highest": highest})
    else:
        # Nobody else draws meanwhile, and who has drawn has committed: `taken` sees all below.
        session.execute(text("LOCK TABLE clips IN SHARE ROW EXCLUSIVE MODE"))
        session.execute(SKIP_POSTGRES, {"highest": highest})


def taken(session: Session, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the ids that a stored clip has or a deleted one had."""
    found: list[int] = []
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK].tolist()
        found.extend(session.scalars(select(ClipRow.id).where(ClipRow.id.in_(chunk))))
        doomed = select(DoomedFilesRow.clip_id).where(DoomedFilesRow.clip_id.in_(chunk))
        found.extend(session.scalars(doomed))
    return np.array(sorted(found), np.int64)


def _is_sqlite(session: Session) -> bool:
    return session.connection().dialect.name == "sqlite"


def _begin_sequence(session: Session) -> None:
    """SQLite makes the row when the first clip is stored."""
    session.execute(
        text(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'clips', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'clips')"
        )
    )
