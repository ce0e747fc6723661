"""EmoDB as training material: clips, other voices made of them, and what is to be heard in each."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from app.domain import LABELS, SAMPLE_RATE
from scripts.bundled_training import acoustics, augment

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """One acted sentence."""

    file: str
    speaker: str
    label: int  # index into LABELS
    waveform: Array  # (N,) at 16 kHz


@dataclass(frozen=True)
class Take:
    """A clip as recorded, or in another voice, with what the network shall hear in it."""

    waveform: Array  # (N,)
    frames: Array  # (T, BANDS + 2), see acoustics.frame_targets
    statistics: Array  # (CLIP_TARGETS,)


@dataclass(frozen=True)
class Lesson:
    """A clip and all its takes, the recording first."""

    speaker: str
    label: int
    takes: tuple[Take, ...]


def read(directory: Path, limit: int | None = None) -> list[Clip]:
    """The clips of manifest.csv, in its order; with `limit`, that many spread evenly over it."""
    with (directory / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if limit is not None:
        rows = [rows[k] for k in np.linspace(0, len(rows) - 1, limit).astype(int)]
    clips = []
    for row in rows:
        waveform, rate = soundfile.read(directory / row["file"], dtype="float32")
        if rate != SAMPLE_RATE or waveform.ndim != 1:
            raise ValueError(f"{row['file']}: expected mono at {SAMPLE_RATE} Hz")
        clips.append(Clip(row["file"], row["speaker"], LABELS.index(row["label"]), waveform))
    return clips


def take(waveform: Array) -> Take:
    """Measure a waveform."""
    analysis = acoustics.analyse(waveform)
    frames = acoustics.frame_targets(analysis, len(waveform))
    return Take(waveform, frames, acoustics.clip_targets(analysis))


def lessons(clips: Sequence[Clip], voices: int, seed: int) -> list[Lesson]:
    """Each clip with `voices` other voices, which depend on this clip and the seed alone."""
    prepared = []
    for number, clip in enumerate(clips):
        rng = np.random.default_rng([seed, number])
        takes = [take(clip.waveform)]
        takes += [take(augment.another_voice(clip.waveform, rng)) for _ in range(voices)]
        prepared.append(Lesson(clip.speaker, clip.label, tuple(takes)))
    return prepared


def without(heard: Sequence[Lesson], speakers: Collection[str]) -> list[Lesson]:
    """The lessons of everyone else."""
    return [lesson for lesson in heard if lesson.speaker not in speakers]
