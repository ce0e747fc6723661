"""Made-up clips: embeddings that say more of the speaker than of the emotion, and scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.analysis.facts import Facts

DIMENSION = 32
DAY = 86_400 * 1_000_000  # microseconds


class Voices(NamedTuple):
    vectors: NDArray[np.float32]  # (n, DIMENSION)
    facts: Facts
    emotions: NDArray[np.int64]  # (n,) that were meant
    speakers: NDArray[np.int64]


def voices(count: int, seed: int = 0, *, emotions: int = 4, speakers: int = 6) -> Voices:
    random = np.random.default_rng(seed)
    meant = random.integers(emotions, size=count)
    speaker = random.integers(speakers, size=count)
    place = random.standard_normal((emotions, DIMENSION)) * 1.0
    voice = random.standard_normal((speakers, DIMENSION)) * 1.6
    vectors = place[meant] + voice[speaker] + random.standard_normal((count, DIMENSION)) * 0.5 + 5
    logits = random.standard_normal((count, 9)) * 0.7
    logits[np.arange(count), meant] += 3.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    facts = Facts(
        scores.astype(np.float32),
        scores.argmax(axis=1).astype(np.int8),
        scores.max(axis=1).astype(np.float32),
        (random.integers(0, 100, size=count) * DAY).astype(np.int64),
        speaker.astype(np.int32),
        random.integers(-1, 3, size=count).astype(np.int32),
    )
    return Voices(vectors.astype(np.float32), facts, meant, speaker)
