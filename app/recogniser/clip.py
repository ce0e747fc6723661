"""A clip of any length through the recogniser, in bounded memory."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audio import Spool, release
from app.domain import (
    SAMPLE_RATE,
    ClipRecognition,
    Recognition,
    Segment,
    Waveform,
    frame_count,
)
from app.errors import ClientGone
from app.recogniser.fair_queue import Flow
from app.recogniser.recogniser import Recogniser
from app.recogniser.segments import OVERLAP, Bounds, segments

MOST_WAITING = 8  # segments of a clip at once: enough for a batch


def recognise_clip(
    recogniser: Recogniser,
    waveform: Waveform,
    flow: Flow,
    *,
    frame_scores: bool = False,
    frame_embeddings: bool = False,
    scratch: Path | None = None,
    go_on: Callable[[], None] = lambda: None,
) -> ClipRecognition:
    """Recognises a clip by its segments; its scores and embedding are their means, weighted by
    their frames.

    Args:
        flow: of the request; cancelled when this raises.
        frame_scores, frame_embeddings: whether to give those of all frames too.
        scratch: where frame embeddings that are too many for memory lie, see Spool.
        go_on: called now and then, and before each segment; what it raises ends the recognition.

    Raises:
        NoAudio: the model makes no finite numbers of the samples.
        ClientGone: the flow was cancelled.
        Unavailable: the disk takes no more, or the recogniser is closed.
    """
    means = _Means()
    scores: list[NDArray[np.float32]] = []
    frames = frame_scores or frame_embeddings
    recognised = _recognised(recogniser, waveform, flow, frames, go_on)
    with (
        contextlib.closing(Spool(scratch, (recogniser.info.dimension,))) as embeddings,
        contextlib.closing(recognised),
    ):
        for (start, end), found in recognised:
            means.add(start, end, frame_count(len(waveform[start : end + OVERLAP])), found)
            if found.frames is not None and frame_scores:
                scores.append(found.frames.scores)
            if found.frames is not None and frame_embeddings:
                embeddings.add(found.frames.embeddings)
        return ClipRecognition(
            recognition=means.recognition(),
            segments=tuple(means.segments),
            frame_scores=np.concatenate(scores) if frame_scores else None,
            frame_embeddings=embeddings.finish() if frame_embeddings else None,
        )


def _recognised(
    recogniser: Recogniser,
    waveform: Waveform,
    flow: Flow,
    frames: bool,
    go_on: Callable[[], None],
) -> Generator[tuple[Bounds, Recognition], None, None]:
    """The segments in order, a few ahead of the one that is given."""
    waiting: deque[tuple[Bounds, Future[Recognition]]] = deque()
    try:
        for start, end in segments(waveform, go_on):
            go_on()
            if len(waiting) == MOST_WAITING:
                bounds, future = waiting.popleft()
                yield bounds, future.result()
            heard = np.array(waveform[start : end + OVERLAP])
            release(waveform)
            waiting.append(((start, end), recogniser.submit(heard, flow, frames=frames)))
        while waiting:
            bounds, future = waiting.popleft()
            yield bounds, future.result()
    except CancelledError as exc:
        raise ClientGone("The client hung up before its answer.") from exc
    except BaseException:
        flow.cancel()
        raise


class _Means:
    """Sums up the segments of a clip, in float64."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self._frames = 0
        self._scores: NDArray[np.float64] | float = 0.0
        self._embedding: NDArray[np.float64] | float = 0.0

    def add(self, start: int, end: int, frames: int, found: Recognition) -> None:
        """Adds the segment from sample `start` to `end`."""
        seconds = start / SAMPLE_RATE, end / SAMPLE_RATE
        self.segments.append(Segment(found.scores, *seconds))
        self._frames += frames
        self._scores = self._scores + found.scores.astype(np.float64) * frames
        self._embedding = self._embedding + found.embedding.astype(np.float64) * frames

    def recognition(self) -> Recognition:
        return Recognition(
            scores=np.asarray(self._scores / self._frames, np.float32),
            embedding=np.asarray(self._embedding / self._frames, np.float32),
        )
