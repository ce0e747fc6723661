"""The tables of analysis: duplicates, clusters, classifiers, reports, customers and agents."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    BigInteger,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.store.tables import Base, Id, Json, UtcDateTime


class FingerprintRow(Base):
    """What tells a clip's recording from others, as `app.analysis.fingerprint` packs it."""

    __tablename__ = "fingerprints"

    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    packed: Mapped[bytes] = mapped_column(LargeBinary)
    # Whether it was compared with all clips that were committed before it, also those that were
    # on their way beside it.
    compared: Mapped[bool] = mapped_column(index=True)


class DuplicatePairRow(Base):
    """Two clips found to be duplicates by what is heard in them; those with the same hash are
    found by it."""

    __tablename__ = "duplicate_pairs"

    low_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    high_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    similarity: Mapped[float] = mapped_column(Float(53))


class DuplicateDecisionRow(Base):
    """What somebody said of two clips, for as long as both exist."""

    __tablename__ = "duplicate_decisions"

    low_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    high_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    decision: Mapped[str] = mapped_column(String(7))
    decided_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class ClusterRunRow(Base):
    """A grouping of clips that somebody asked for. Its ids are never reused: who works on one that
    was deleted must not take a later one for it."""

    __tablename__ = "cluster_runs"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))  # whose embeddings it uses
    algorithm: Mapped[str] = mapped_column(String(10))
    n_clusters: Mapped[int | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    filters: Mapped[dict[str, Any]] = mapped_column(Json)
    previous: Mapped[int | None]  # the run that it is compared with, which may be gone
    state: Mapped[str] = mapped_column(String(10), index=True)
    attempts: Mapped[int]  # processes that began it
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    message: Mapped[str | None] = mapped_column(Text)
    summary: Mapped[dict[str, Any] | None] = mapped_column(Json)


class ClusterRow(Base):
    """What is said of one cluster of a run."""

    __tablename__ = "clusters"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("cluster_runs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    lasting_id: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    profile: Mapped[dict[str, Any]] = mapped_column(Json)
    centre: Mapped[bytes] = mapped_column(LargeBinary)  # float32


class ClusterMembersRow(Base):
    """Some members of a cluster, or of the outliers (-1), by rising id. Clips that are deleted
    later stay here, as numbers: whoever reads takes them out."""

    __tablename__ = "cluster_members"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("cluster_runs.id", ondelete="CASCADE"), primary_key=True
    )
    cluster: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    ids: Mapped[bytes] = mapped_column(LargeBinary)  # int64 (n,)


class ClusterPointsRow(Base):
    """Some clips on a run's map, by rising id; deleted ones stay likewise."""

    __tablename__ = "cluster_points"

    run_id: Mapped[int] = mapped_column(
        ForeignKey("cluster_runs.id", ondelete="CASCADE"), primary_key=True
    )
    last_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    ids: Mapped[bytes] = mapped_column(LargeBinary)  # int64 (n,)
    clusters: Mapped[bytes] = mapped_column(LargeBinary)  # int32 (n,)
    emotions: Mapped[bytes] = mapped_column(LargeBinary)  # int8 (n,) places in LABELS, or -1
    places: Mapped[bytes] = mapped_column(LargeBinary)  # float32 (n, 2)


class ClassifierRow(Base):
    """A classifier that somebody has labelled clips for. What it learnt is in its fits.

    Until all of its labels are stored, some blocks of them, it is not whole, and nobody is told of
    it."""

    __tablename__ = "classifiers"
    __table_args__ = ({"sqlite_autoincrement": True},)  # ids are never reused

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    is_whole: Mapped[bool]


class ClassifierLabelRow(Base):
    """What somebody says a clip is."""

    __tablename__ = "classifier_labels"

    classifier_id: Mapped[int] = mapped_column(
        ForeignKey("classifiers.id", ondelete="CASCADE"), primary_key=True
    )
    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    label: Mapped[str] = mapped_column(String(200))


class ClassifierFitRow(Base):
    """What a classifier learnt from the embeddings of one model, which it may be asked about.

    Without a classifier, which was deleted, it waits for its scores to be removed. Parameters are
    little-endian numbers of `dtype`, row after row.
    """

    __tablename__ = "classifier_fits"
    __table_args__ = (
        UniqueConstraint("classifier_id", "model_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    classifier_id: Mapped[int | None] = mapped_column(
        ForeignKey("classifiers.id", ondelete="SET NULL")
    )
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    trained_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    classes: Mapped[list[str]] = mapped_column(Json)
    dtype: Mapped[str] = mapped_column(String(3))
    shapes: Mapped[dict[str, list[int]]] = mapped_column(Json)  # of the four below
    mean: Mapped[bytes] = mapped_column(LargeBinary)
    scale: Mapped[bytes] = mapped_column(LargeBinary)
    weights: Mapped[bytes] = mapped_column(LargeBinary)
    bias: Mapped[bytes] = mapped_column(LargeBinary)
    quality: Mapped[dict[str, Any]] = mapped_column(Json)


class ClassifierScoreRow(Base):
    """The probability of one class of a fit for a clip; `is_top` of the most probable one."""

    __tablename__ = "classifier_scores"
    __table_args__ = (
        Index(None, "fit_id", "class_number", "probability", "clip_id"),
        {"sqlite_with_rowid": False},
    )

    clip_id: Mapped[int] = mapped_column(
        Id, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True
    )
    fit_id: Mapped[int] = mapped_column(ForeignKey("classifier_fits.id"), primary_key=True)
    class_number: Mapped[int] = mapped_column(primary_key=True)  # its place among the classes
    probability: Mapped[float] = mapped_column(Float(53))
    is_top: Mapped[bool]


class ClassifierApplyRow(Base):
    """The last time that somebody had a classifier score the clips that were stored before it."""

    __tablename__ = "classifier_applies"

    classifier_id: Mapped[int] = mapped_column(
        ForeignKey("classifiers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # Null until it is trained for the active model.
    fit_id: Mapped[int | None] = mapped_column(
        ForeignKey("classifier_fits.id", ondelete="SET NULL"), index=True
    )
    state: Mapped[str] = mapped_column(String(10))
    done: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    counts: Mapped[dict[str, int]] = mapped_column(Json)  # of clips by their most probable class
    started_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    message: Mapped[str | None] = mapped_column(Text)


class ReportRow(Base):
    """A report: what it is of, and figures without persons. What it says of clusters, clips and
    people is its cluster run's. A schedule has one at most for each of its slots."""

    __tablename__ = "reports"
    __table_args__ = (
        UniqueConstraint("schedule_id", "slot"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    schedule_id: Mapped[int | None]  # of a schedule that may be gone; ids are never reused
    slot: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    filters: Mapped[dict[str, Any]] = mapped_column(Json)
    grouping: Mapped[dict[str, Any]] = mapped_column(Json)  # algorithm, n_clusters, seed
    previous: Mapped[int | None]  # the report that it is compared with, which may be gone
    cluster_run: Mapped[int | None] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(10), index=True)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime, index=True)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    message: Mapped[str | None] = mapped_column(Text)
    figures: Mapped[dict[str, Any] | None] = mapped_column(Json)


class ScheduleRow(Base):
    """When reports are made by themselves. Its ids are never reused: its reports keep them."""

    __tablename__ = "schedules"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    cron: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(100))
    filters: Mapped[dict[str, Any]] = mapped_column(Json)
    grouping: Mapped[dict[str, Any]] = mapped_column(Json)
    catch_up: Mapped[int]  # missed slots that are made up for, the latest ones
    enabled: Mapped[bool]
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    last_slot: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    next_slot: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class PersonRow(Base):
    """A customer or an agent, as `app.store.people.Person`. What is not brought in yet is in
    `person_marks`."""

    __tablename__ = "people"
    __table_args__ = (
        Index("ix_people_kind_clips_id", "kind", "clips", "id"),
        Index("ix_people_kind_level_id", "kind", "level", "id"),
        Index("ix_people_kind_evidence_id", "kind", "evidence", "id"),
    )

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    clips: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    heard: Mapped[int]
    negative: Mapped[int]
    level: Mapped[float] = mapped_column(Float(53))
    evidence: Mapped[float] = mapped_column(Float(53))  # 0 where there are too few clips
    before: Mapped[float | None] = mapped_column(Float(53))  # this and the rest: null likewise
    since: Mapped[float | None] = mapped_column(Float(53))
    clips_before: Mapped[int | None]
    clips_since: Mapped[int | None]
    changed_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class PersonMarkRow(Base):
    """Somebody whose clips have changed: written in the transaction that changed them, deleted in
    the one that brings `people` up to them. Only ever added, so that no two who store clips of one
    agent wait for each other.

    With `onward` all those after this id are meant; everybody, if it is null.
    """

    __tablename__ = "person_marks"
    __table_args__ = (
        Index("ix_person_marks_kind_onward_person", "kind", "onward", "person"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    onward: Mapped[bool]
    person: Mapped[str | None] = mapped_column(String(200))


class PersonBaselineRow(Base):
    """How the share of negative clips varies from one to the other, as it was when `level` and
    `evidence` of `people` were worked out."""

    __tablename__ = "person_baselines"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    mean: Mapped[float] = mapped_column(Float(53))
    concentration: Mapped[float] = mapped_column(Float(53))
