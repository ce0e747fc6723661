"""What the routes answer, field by field."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain import LABELS, Channel, Clip, DuplicateKind, Granularity, ModelInfo

DUPLICATE_OF = "Lowest live clip with the same bytes or the same decoded samples."

NOT_KNOWN = "Null where an import did not say."

Scores = dict[str, float]


class Model(BaseModel):
    """A model is its id and the SHA-256 of its weights, config, tokens and dtype class."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    digest: str
    dimension: int = Field(description="Numbers in an embedding.")
    bundled: bool = Field(description="True for the small model that ships with the service.")


class FrameScores(BaseModel):
    hop: float = Field(description="Seconds between frames; frame t begins at hop·t.")
    emotions: list[str] = Field(description="(T,) the largest score's label of each frame.")
    scores: dict[str, list[float]] = Field(description="(T,) scores of each label.")


class SegmentScores(BaseModel):
    start: float = Field(description="Seconds within the clip.")
    end: float = Field(description="Seconds; the last one's is the clip's duration.")
    emotion: str
    confidence: float
    scores: Scores


class ClassifierSays(BaseModel):
    """The most probable of a classifier's labels."""

    label: str
    probability: float = Field(description="Calibrated, in [0, 1].")


class RecogniseAnswer(BaseModel):
    """One stored clip and what was heard in it."""

    success: bool
    result_dir: str = Field(description="Relative to the service's working directory.")
    emotion: str = Field(description="The label with the largest score.")
    confidence: float = Field(description="Its score.")
    scores: Scores = Field(description="All nine labels; they sum to 1.")
    segments: list[SegmentScores] = Field(
        description="One for a clip of up to 30 s; longer ones are tiled by segments of 1 to "
        "30 s cut at pauses, and their own scores and embedding are the mean over all frames."
    )
    granularity: Granularity
    embedding_saved: bool
    processed_audio_path: str = Field(description="The 16 kHz mono audio that the model heard.")
    embedding_path: str | None = Field(
        None, description="float32 .npy, (D,) or (T, D); only with extract_embedding=true."
    )
    clip_id: int = Field(description="≥ 1, never reused.")
    indexed: bool = Field(description="False until the index has it, and with index=false.")
    channel: Channel
    duration: float = Field(description="Seconds.")
    warnings: list[str] = Field(
        description="What was wrong with audio that was still decodable; fields that were ignored."
    )
    model: Model
    duplicate_of: int | None = Field(description=DUPLICATE_OF)
    duplicate_kind: DuplicateKind | None
    classifiers: dict[str, ClassifierSays] = Field(
        {}, description="What the users' own classifiers say, by name; empty where there are none."
    )
    frames: FrameScores | None = Field(None, description="Only with granularity=frame.")
    channels: dict[str, RecogniseAnswer] | None = Field(
        None, description="Only with channel=split: the right channel's answer under `right`."
    )


class ClipView(BaseModel):
    """A stored clip."""

    clip_id: int
    stored_at: dt.datetime
    recorded_at: dt.datetime | None
    duration: float | None = Field(description=f"Seconds. {NOT_KNOWN}")
    channel: Channel
    emotion: str | None = Field(description=NOT_KNOWN)
    confidence: float | None = Field(description=NOT_KNOWN)
    scores: Scores | None = Field(description=NOT_KNOWN)
    customer_id: str | None
    call_id: str | None
    agent_id: str | None
    tags: list[str]
    metadata: dict[str, Any]
    indexed: bool = Field(description="Whether searches find it now.")
    model: Model
    file_sha256: str | None = Field(description=f"Of the bytes that were posted. {NOT_KNOWN}")
    has_audio: bool = Field(description="Whether /audio has it.")

    @classmethod
    def of(cls, clip: Clip, indexed: bool) -> ClipView:
        return cls(**_clip_fields(clip, indexed))


class ClipDetail(ClipView):
    """One clip, with what it is a duplicate of."""

    duplicate_of: int | None = Field(description=DUPLICATE_OF)
    duplicate_kind: DuplicateKind | None
    classifiers: dict[str, ClassifierSays] = Field(
        description="What the users' own classifiers say of it, by name: those that were trained "
        "for the active model and have scored the clip."
    )

    @classmethod
    def with_duplicate(
        cls,
        clip: Clip,
        indexed: bool,
        same: tuple[int, DuplicateKind] | None,
        classifiers: Mapping[str, Mapping[str, Any]],
    ) -> ClipDetail:
        duplicate_of, kind = same or (None, None)
        return cls(
            **_clip_fields(clip, indexed),
            duplicate_of=duplicate_of,
            duplicate_kind=kind,
            classifiers={
                name: ClassifierSays.model_validate(said) for name, said in classifiers.items()
            },
        )


class ClipPage(BaseModel):
    clips: list[ClipView]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class Count(BaseModel):
    count: int


class Deleted(BaseModel):
    deleted: int = Field(description="Clips that are gone.")


class FacetValue(BaseModel):
    value: str | None
    count: int


class Facets(BaseModel):
    facets: dict[str, list[FacetValue]] = Field(description="Most frequent first, up to 1000.")


class IndexState(BaseModel):
    state: str = Field(description="ready, building or degraded.")
    build: int = Field(description="Which build of the index answered.")
    pending: int = Field(description="Stored clips that the index still lacks.")


class NeighbourView(BaseModel):
    clip_id: int
    similarity: float = Field(description="Cosine in [−1, 1] after the index's mean is removed.")
    emotion: str | None = Field(description=NOT_KNOWN)
    confidence: float | None = Field(description=NOT_KNOWN)
    customer_id: str | None
    call_id: str | None
    agent_id: str | None
    recorded_at: dt.datetime | None
    duration: float | None = Field(description=f"Seconds. {NOT_KNOWN}")
    tags: list[str]


class SearchAnswer(BaseModel):
    """Nearest first, equal similarities by lower id."""

    clip_id: int | None = Field(None, description="The clip asked about, if one was.")
    model: str = Field(description="Id of the model whose embeddings were compared.")
    index: IndexState
    neighbours: list[NeighbourView]


class StatusModel(Model):
    runtime: str
    device: str
    dtype: str


class StatusIndex(BaseModel):
    backend: str = Field(
        description="faiss-cpu, or faiss-gpu while a GPU has a copy for searches of many vectors."
    )
    kind: str
    state: str
    size: int
    expected: int = Field(description="Stored clips that should be in the index.")
    dimension: int
    pending: int
    memory_bytes: int


class StatusBatching(BaseModel):
    """Who is let in, what waits for the encoder, and what that was given since the start,
    warm-up included. Searches by file count like recognitions."""

    queued: int = Field(description="Requests that wait to be let in (EMOSEEK_QUEUE_LENGTH).")
    inside: int = Field(
        description="Requests that are decoded, heard or stored now (EMOSEEK_MAX_CONCURRENCY)."
    )
    waiting: int = Field(description="Waveforms that wait for the encoder now.")
    batches: int = Field(description="Calls of the encoder that gave answers.")
    waveforms: int = Field(description="In those batches; waveforms / batches is their mean size.")
    frames: int = Field(description="Of those waveforms, 50 a second.")
    cpu_seconds: float = Field(
        description="CPU time of the encoder's own threads, without those that PyTorch adds."
    )


class StatusDatabase(BaseModel):
    dialect: str
    clips: int


class StatusRequests(BaseModel):
    """Recognise requests since the start; the percentiles are over the last 1000 answered."""

    total: int
    succeeded: int
    success_rate: float | None = Field(
        description="Of those whose client did not hang up; null before the first."
    )
    hung_up: int = Field(description="Clients that hung up before their answer.")
    p50_ms: float | None
    p95_ms: float | None


class StatusLimits(BaseModel):
    """What a posted file may have."""

    upload_bytes: int = Field(description="EMOSEEK_MAX_UPLOAD_MB.")
    seconds: float = Field(description="EMOSEEK_MAX_SECONDS, once decoded.")


class Status(BaseModel):
    status: str
    version: str
    uptime_seconds: float
    model: StatusModel
    index: StatusIndex
    batching: StatusBatching
    database: StatusDatabase
    requests: StatusRequests
    limits: StatusLimits


def model_view(info: ModelInfo) -> Model:
    return Model.model_validate(info)


def _clip_fields(clip: Clip, indexed: bool) -> dict[str, Any]:
    return {
        "clip_id": clip.id,
        "stored_at": clip.stored_at,
        "recorded_at": clip.fields.recorded_at,
        "duration": clip.duration,
        "channel": clip.channel,
        "emotion": clip.emotion,
        "confidence": clip.confidence,
        "scores": None if clip.scores is None else dict(zip(LABELS, clip.scores, strict=True)),
        "customer_id": clip.fields.customer_id,
        "call_id": clip.fields.call_id,
        "agent_id": clip.fields.agent_id,
        "tags": list(clip.fields.tags),
        "metadata": clip.fields.metadata,
        "indexed": indexed,
        "model": model_view(clip.model),
        "file_sha256": clip.file_sha256,
        "has_audio": clip.audio_key is not None,
    }
