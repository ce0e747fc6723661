"""Emotion over time in a stored clip, heard again from its kept audio; nothing is stored."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from app.domain import HOP, SAMPLE_RATE, Segment
from app.errors import NotFound
from app.library.hear import Hearing
from app.library.library import Library
from app.recogniser import Flow


@dataclasses.dataclass(frozen=True, slots=True)
class ClipFrames:
    """Point p of `scores` (P, 9) is the mean over the frames from p·hop seconds on; the last may
    be of fewer."""

    model: str
    hop: float  # seconds between points
    scores: NDArray[np.float32]
    segments: tuple[Segment, ...]


def frames_of(library: Library, clip_id: int, points: int, flow: Flow) -> ClipFrames:
    """What the active model hears in each moment of a clip, in at most `points` steps.

    Raises:
        NotFound: there is no such clip, or its audio is not kept.
        TooLarge: it is longer than what is heard now (EMOSEEK_MAX_SECONDS).
        QueueFull, Unavailable: come back later.
        ClientGone: the flow was cancelled.
    """
    key = library.clip(clip_id).audio_key
    if key is None:
        raise NotFound(f"The audio of clip {clip_id} is not kept.")
    space = library.spaces.active
    with library.gate.admit(flow):
        try:
            file = library.kept_audio.path(key).open("rb")
        except FileNotFoundError as exc:
            raise NotFound(f"The audio of clip {clip_id} is not kept.") from exc
        with file:
            [heard] = Hearing(library, file, "mix", flow, frame_scores=True).by(space)
    assert heard.frame_scores is not None
    each = -(-len(heard.frame_scores) // points)
    return ClipFrames(
        model=space.model.id,
        hop=each * HOP / SAMPLE_RATE,
        scores=mean_of_each(heard.frame_scores, each),
        segments=heard.segments,
    )


def mean_of_each(scores: NDArray[np.float32], each: int) -> NDArray[np.float32]:
    """(T, 9) → (⌈T / each⌉, 9): means over `each` rows, the last over those that are left."""
    starts = np.arange(0, len(scores), each)
    counts = np.diff(starts, append=len(scores))
    sums = np.add.reduceat(scores, starts, axis=0, dtype=np.float64)
    means: NDArray[np.float32] = (sums / counts[:, None]).astype(np.float32)
    return means
