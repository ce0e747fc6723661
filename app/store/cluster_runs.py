"""Groupings of clips that were asked for: queued, worked on, and what they found."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.domain import ModelInfo
from app.store.analysis_tables import ClusterMembersRow, ClusterPointsRow, ClusterRow, ClusterRunRow
from app.store.models import as_info
from app.store.tables import Base, ModelRow

State = Literal["queued", "running", "done", "failed"]

MEMBERS = Base.metadata.tables[ClusterMembersRow.__tablename__]
POINTS = Base.metadata.tables[ClusterPointsRow.__tablename__]
BLOCK = 4096  # clips in a row of members or of points
ROWS = 16  # of these in a transaction, which then takes some ten milliseconds


@dataclasses.dataclass(frozen=True, slots=True)
class NewRun:
    """What is asked for."""

    model_row: int
    algorithm: str
    n_clusters: int | None
    seed: int
    filters: dict[str, Any]
    previous: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A grouping as the store knows it."""

    id: int
    model_row: int
    model: ModelInfo
    algorithm: str
    n_clusters: int | None
    seed: int
    filters: dict[str, Any]
    previous: int | None
    state: State
    attempts: int
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    message: str | None
    summary: dict[str, Any] | None  # of one that is done


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StoredCluster:
    """One cluster of a run that is done."""

    number: int
    lasting_id: int
    name: str
    profile: dict[str, Any]
    centre: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Points:
    """m clips on a map, by rising id."""

    ids: NDArray[np.int64]
    clusters: NDArray[np.int32]  # -1: none
    emotions: NDArray[np.int8]  # places in LABELS; -1: not known
    places: NDArray[np.float32]  # (m, 2)

    def at(self, rows: slice | NDArray[np.intp]) -> Points:
        """Some of them."""
        return Points(self.ids[rows], self.clusters[rows], self.emotions[rows], self.places[rows])


def begin(session: Session, new: NewRun, now: dt.datetime) -> Run:
    """Put a run behind those that are queued."""
    row = ClusterRunRow(
        model_id=new.model_row,
        algorithm=new.algorithm,
        n_clusters=new.n_clusters,
        seed=new.seed,
        filters=new.filters,
        previous=new.previous,
        state="queued",
        attempts=0,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return _run(row, session.get_one(ModelRow, new.model_row))


def get(session: Session, run_id: int) -> Run | None:
    rows = session.execute(_RUNS.where(ClusterRunRow.id == run_id)).one_or_none()
    return None if rows is None else _run(*rows)


def page(session: Session, limit: int, before: int | None) -> list[Run]:
    """Up to `limit` runs, newest first, with ids below `before`."""
    query = _RUNS.order_by(ClusterRunRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ClusterRunRow.id < before)
    return [_run(*rows) for rows in session.execute(query)]


def next_one(session: Session) -> Run | None:
    """The first that is neither done nor failed: under way, or left by a process that ended."""
    waiting = ClusterRunRow.state.in_(("queued", "running"))
    rows = session.execute(_RUNS.where(waiting).order_by(ClusterRunRow.id).limit(1)).one_or_none()
    return None if rows is None else _run(*rows)


def take_up(session: Session, run_id: int, now: dt.datetime, *, again: bool) -> bool:
    """It is begun, `again` by the same process. What was written of it before is removed. False:
    the run was deleted."""
    row = _locked(session, run_id)
    if row is None:
        return False
    row.state, row.started_at, row.attempts = "running", now, row.attempts + (not again)
    for table in (MEMBERS, POINTS):
        session.connection().execute(delete(table).where(table.c.run_id == run_id))
    return True


def put_back(session: Session, run_id: int) -> None:
    """The process ends in good order: this beginning of it does not count."""
    row = _locked(session, run_id)
    if row is not None and row.state == "running":
        row.state, row.attempts = "queued", row.attempts - 1


def fail(session: Session, run_id: int, message: str, now: dt.datetime) -> None:
    """Note why there is nothing, if it was not deleted."""
    row = _locked(session, run_id)
    if row is not None:
        row.state, row.message, row.finished_at = "failed", message, now
    for table in (MEMBERS, POINTS):
        session.connection().execute(delete(table).where(table.c.run_id == run_id))


def add_members(
    session: Session, run_id: int, blocks: Sequence[tuple[int, NDArray[np.int64]]]
) -> bool:
    """Blocks of members, each with its cluster. False: the run was deleted, nothing is stored."""
    if _locked(session, run_id) is None:
        return False
    rows = [
        {"run_id": run_id, "cluster": cluster, "last_id": int(ids[-1]), "ids": _bytes(ids, "<i8")}
        for cluster, ids in blocks
    ]
    session.connection().execute(insert(MEMBERS), rows)
    return True


def add_points(session: Session, run_id: int, blocks: Sequence[Points]) -> bool:
    """Blocks of the map's points. False: the run was deleted, nothing is stored."""
    if _locked(session, run_id) is None:
        return False
    rows = [
        {
            "run_id": run_id,
            "last_id": int(some.ids[-1]),
            "ids": _bytes(some.ids, "<i8"),
            "clusters": _bytes(some.clusters, "<i4"),
            "emotions": _bytes(some.emotions, "i1"),
            "places": _bytes(some.places, "<f4"),
        }
        for some in blocks
    ]
    session.connection().execute(insert(POINTS), rows)
    return True


def finish(
    session: Session,
    run_id: int,
    clusters: Sequence[StoredCluster],
    summary: dict[str, Any],
    now: dt.datetime,
    message: str | None = None,
) -> bool:
    """What was found, members and points aside, which are stored. False: the run was deleted."""
    row = _locked(session, run_id)
    if row is None:
        return False
    row.state, row.finished_at, row.summary, row.message = "done", now, summary, message
    session.add_all(
        ClusterRow(
            run_id=run_id,
            number=one.number,
            lasting_id=one.lasting_id,
            name=one.name,
            profile=one.profile,
            centre=_bytes(one.centre, "<f4"),
        )
        for one in clusters
    )
    return True


def remove(session: Session, run_id: int) -> bool:
    """With all that was found. False: there is no such run."""
    gone = delete(ClusterRunRow).where(ClusterRunRow.id == run_id).returning(ClusterRunRow.id)
    return session.scalar(gone) is not None


def clusters_of(session: Session, run_id: int) -> list[StoredCluster]:
    """By number."""
    query = select(ClusterRow).where(ClusterRow.run_id == run_id).order_by(ClusterRow.number)
    return [
        StoredCluster(row.number, row.lasting_id, row.name, row.profile, _array(row.centre, "<f4"))
        for row in session.scalars(query)
    ]


def members(
    session: Session, run_id: int, cluster: int, after: int, limit: int
) -> NDArray[np.int64]:
    """Up to `limit` ids of members beyond id `after`, ascending, deleted clips among them."""
    query = (
        select(MEMBERS.c.ids)
        .where(MEMBERS.c.run_id == run_id, MEMBERS.c.cluster == cluster)
        .where(MEMBERS.c.last_id > after)
        .order_by(MEMBERS.c.last_id)
        .limit(-(-limit // BLOCK) + 1)
    )
    blobs = session.connection().scalars(query).all()
    ids = _array(b"".join(blobs), "<i8")
    return ids[np.searchsorted(ids, after, "right") :][:limit]


def all_members(session: Session, run_id: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Ids (n,) ascending and the cluster of each (n,), deleted clips and outliers too."""
    query = select(MEMBERS.c.cluster, MEMBERS.c.ids).where(MEMBERS.c.run_id == run_id)
    rows = session.connection().execute(query.order_by(MEMBERS.c.cluster, MEMBERS.c.last_id)).all()
    ids = _array(b"".join([row[1] for row in rows]), "<i8")
    counts = [len(row[1]) // 8 for row in rows]
    clusters = np.repeat(np.array([row[0] for row in rows], np.int32), counts)
    order = np.argsort(ids, kind="stable")
    return ids[order], clusters[order]


def points(session: Session, run_id: int, after: int = 0, limit: int | None = None) -> Points:
    """Up to `limit` points of the map, or all, beyond id `after`, deleted clips among them."""
    query = select(POINTS).where(POINTS.c.run_id == run_id, POINTS.c.last_id > after)
    query = query.order_by(POINTS.c.last_id)
    if limit is not None:
        query = query.limit(-(-limit // BLOCK) + 1)
    rows = session.connection().execute(query).all()
    ids = _array(b"".join([row.ids for row in rows]), "<i8")
    first = int(np.searchsorted(ids, after, "right"))
    kept = slice(first, None if limit is None else first + limit)
    return Points(
        ids[kept],
        _array(b"".join([row.clusters for row in rows]), "<i4")[kept],
        _array(b"".join([row.emotions for row in rows]), "i1")[kept],
        _array(b"".join([row.places for row in rows]), "<f4").reshape(-1, 2)[kept],
    )


_RUNS = select(ClusterRunRow, ModelRow).join(ModelRow, ModelRow.id == ClusterRunRow.model_id)


def _locked(session: Session, run_id: int) -> ClusterRunRow | None:
    """A deletion of it waits for this transaction, or this one finds none."""
    return session.scalar(select(ClusterRunRow).where(ClusterRunRow.id == run_id).with_for_update())


def _run(row: ClusterRunRow, model: ModelRow) -> Run:
    return Run(
        id=row.id,
        model_row=row.model_id,
        model=as_info(model),
        algorithm=row.algorithm,
        n_clusters=row.n_clusters,
        seed=row.seed,
        filters=row.filters,
        previous=row.previous,
        state=row.state,  # type: ignore[arg-type]  # the column holds only State values
        attempts=row.attempts,
        created=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
        message=row.message,
        summary=row.summary,
    )


def _bytes(array: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()


def _array(blob: bytes, dtype: str) -> NDArray[Any]:
    return np.frombuffer(blob, dtype).astype(np.dtype(dtype).newbyteorder("="), copy=False)
