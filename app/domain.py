"""The words of the field as plain types. Imports nothing of the project."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz, what emotion2vec hears
HOP = 320  # samples between frames: 50 frames a second
WINDOW = 400  # samples a frame sees, and so the shortest clip with one frame

LABELS = (
    "angry",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "other",
    "sad",
    "surprised",
    "unknown",
)
NEGATIVE = ("angry", "disgusted", "fearful", "sad")

Waveform = NDArray[np.float32]  # (N,) mono samples at SAMPLE_RATE, full scale ±1
Embedding = NDArray[np.float32]  # (D,) as the model gives it, neither centred nor normalised
Channel = Literal["mix", "left", "right", "split"]
Granularity = Literal["utterance", "frame"]
DuplicateKind = Literal["same_file", "same_recording", "repeat_complaint"]
PersonKind = Literal["customer", "agent"]  # whom a clip is of


def frame_count(samples: int) -> int:
    """Number of emotion2vec frames T = floor((N − 400) / 320) + 1 in `samples` samples."""
    return (samples - WINDOW) // HOP + 1


@dataclasses.dataclass(frozen=True, slots=True)
class Audio:
    """What a decoder made of an upload.

    `waveforms` holds one Waveform, or two (left, right) where the channels were split.
    `warnings` says what was wrong with audio that was damaged but decodable.
    """

    waveforms: tuple[Waveform, ...]
    warnings: tuple[str, ...]
    container: str  # wav, flac, ogg, mp3, m4a, aac
    codec: str  # as the decoder names it, e.g. pcm_s16le, opus, aac
    sample_rate: int  # Hz, of the file
    channels: int  # of the file


@dataclasses.dataclass(frozen=True, slots=True)
class Frames:
    """Per-frame output: embeddings (T, D) float32 and scores (T, 9) float32 in LABELS order."""

    embeddings: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class EmotionScores:
    """Scores (9,) float32 in LABELS order, summing to 1."""

    scores: NDArray[np.float32]

    @property
    def emotion(self) -> str:
        return LABELS[int(self.scores.argmax())]

    @property
    def confidence(self) -> float:
        return float(self.scores.max())

    def by_label(self) -> dict[str, float]:
        return dict(zip(LABELS, map(float, self.scores), strict=True))


@dataclasses.dataclass(frozen=True, slots=True)
class Recognition(EmotionScores):
    """Scores and the utterance embedding (D,)."""

    embedding: Embedding
    frames: Frames | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Segment(EmotionScores):
    """A stretch of a clip with the scores of it alone."""

    start: float  # seconds within the clip
    end: float

    def as_answer(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "end": self.end,
            "emotion": self.emotion,
            "confidence": self.confidence,
            "scores": self.by_label(),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class ClipRecognition:
    """What was heard in a whole clip; the segments tile it.

    `frame_scores` (T, 9) and `frame_embeddings` (T, D), which may be a np.memmap, are None
    unless they were asked for.
    """

    recognition: Recognition
    segments: tuple[Segment, ...]
    frame_scores: NDArray[np.float32] | None
    frame_embeddings: NDArray[np.float32] | None


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model is its id and the SHA-256 of its weights, config, tokens and dtype class."""

    id: str
    digest: str
    dimension: int
    bundled: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ClipFields:
    """What a caller may say of a clip, at recognise or later."""

    customer_id: str | None = None
    call_id: str | None = None
    agent_id: str | None = None
    recorded_at: dt.datetime | None = None  # aware
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class GivenScores:
    """What an import says of a clip's emotion: all, the emotion alone, or nothing."""

    emotion: str | None = None
    confidence: float | None = None
    scores: tuple[float, ...] | None = None  # in LABELS order


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """A stored recording. Of an imported one less may be known: what is unknown is None."""

    id: int
    stored_at: dt.datetime
    duration: float | None  # seconds
    channel: Channel
    scores: tuple[float, ...] | None  # in LABELS order
    emotion: str | None  # not the label "unknown", which a model may give
    confidence: float | None
    fields: ClipFields
    file_sha256: str | None  # of the bytes that were posted
    audio_sha256: str | None  # of the decoded samples
    indexable: bool
    model: ModelInfo
    result_dir: str | None
    audio_key: str | None  # file name of the kept audio, None when none is kept


@dataclasses.dataclass(frozen=True, slots=True)
class ClipFilter:
    """Which clips: every given condition must hold."""

    emotions: tuple[str, ...] = ()  # any of
    min_confidence: float | None = None
    customer_id: str | None = None
    call_id: str | None = None
    agent_id: str | None = None
    tags: tuple[str, ...] = ()  # all of
    since: dt.datetime | None = None  # aware; since <= t < until
    until: dt.datetime | None = None
    metadata: tuple[tuple[str, str], ...] = ()  # (key, value) equal
    file_sha256: str | None = None

    def __bool__(self) -> bool:
        return self != ClipFilter()
