"""What tells one database from another."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.tables import DatabaseRow


def identity(session: Session) -> str:
    """The database's id, given to it when it is first asked for (in a write transaction)."""
    known = session.scalar(select(DatabaseRow.id))
    if known is None:
        known = uuid.uuid4().hex
        session.add(DatabaseRow(id=known))
        session.flush()
    return known
