"""What is answered of one stored clip, in the words of the API."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import (
    HOP,
    LABELS,
    SAMPLE_RATE,
    ClipRecognition,
    Granularity,
    ModelInfo,
)
from app.library.files import as_clients_see
from app.store import clips

Answer = dict[str, Any]


def answer_of(
    new: clips.NewClip,
    recognised: ClipRecognition,
    result_dir: Path,
    *,
    granularity: Granularity,
    embedding_saved: bool,
    model: ModelInfo,
    classifiers: Mapping[str, Any],
) -> Answer:
    """The answer before the clip is stored: clip_id, duplicate_of and duplicate_kind are None."""
    answer: Answer = {
        "success": True,
        "result_dir": as_clients_see(result_dir),
        "emotion": new.recognition.emotion,
        "confidence": new.recognition.confidence,
        "scores": new.recognition.by_label(),
        "segments": [segment.as_answer() for segment in recognised.segments],
        "granularity": granularity,
        "embedding_saved": embedding_saved,
        "processed_audio_path": as_clients_see(result_dir / "processed_audio.wav"),
        "clip_id": None,
        "indexed": new.indexable,
        "channel": new.channel,
        "duration": new.duration,
        "warnings": list(new.warnings),
        "model": dataclasses.asdict(model),
        "classifiers": dict(classifiers),
        "duplicate_of": None,
        "duplicate_kind": None,
    }
    if embedding_saved:
        answer["embedding_path"] = as_clients_see(result_dir / "embedding.npy")
    if recognised.frame_scores is not None:
        answer["frames"] = _frames(recognised.frame_scores)
    return answer


def _frames(scores: NDArray[np.float32]) -> dict[str, Any]:
    """(T, 9) scores → what was heard in each frame."""
    return {
        "hop": HOP / SAMPLE_RATE,
        "emotions": [LABELS[i] for i in scores.argmax(axis=1)],
        "scores": {label: scores[:, i].astype(float).tolist() for i, label in enumerate(LABELS)},
    }
