"""Clips of any length through the recogniser: means over segments, frames, bounded waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import SAMPLE_RATE, Frames, ModelInfo, Recognition, Waveform, frame_count
from app.errors import ClientGone, NoAudio, Unavailable
from app.recogniser import Flow, Recogniser, recognise_clip
from app.recogniser.clip import MOST_WAITING
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.model_dir import BUNDLED, read
from app.recogniser.segments import OVERLAP, segments

DIMENSION = 256


class FrameEncoder:
    """Fake weights: a frame's embedding and scores come of its own 400 samples alone, so that
    what a clip gives by its segments can be told from the clip as a whole."""

    info = ModelInfo("fake", "0" * 64, DIMENSION, False)
    runtime, device, dtype = "fake", "cpu", "fp32"
    workers = cores = 1

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        return [self._one(*pair) for pair in zip(waveforms, frames, strict=True)]

    def _one(self, waveform: Waveform, wanted: bool) -> Recognition | NoAudio:
        if waveform.max() > 5:
            return NoAudio("too loud")
        embeddings, scores = by_frame(waveform)
        return Recognition(
            scores.mean(axis=0),
            embeddings.mean(axis=0),
            Frames(embeddings, scores) if wanted else None,
        )


def by_frame(waveform: Waveform) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 400)[::320]
    scores = np.abs(windows[:, :9]) + 1e-3
    return windows[:, 144:], scores / scores.sum(axis=1, keepdims=True)


class Late(Future[Recognition]):
    """Computes when it is asked."""

    def __init__(self, compute: Callable[[], Recognition]) -> None:
        super().__init__()
        self._compute = compute

    def result(self, timeout: float | None = None) -> Recognition:
        return self._compute()


class Counting(Recogniser):
    """Does not compute before it is asked for a result, and counts what waits."""

    def __init__(self) -> None:
        super().__init__(FrameEncoder())
        self.waiting = self.most = 0
        self.lengths: list[int] = []

    def submit(
        self, waveform: Waveform, flow: Flow, *, frames: bool = False
    ) -> Future[Recognition]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self.lengths.append(len(waveform))
        submit = super().submit

        def result() -> Recognition:
            self.waiting -= 1
            return submit(waveform, flow, frames=frames).result()

        return Late(result)


@pytest.fixture(scope="module")
def minutes() -> Waveform:
    """Three minutes of noise that swells and falls."""
    time = np.arange(180 * SAMPLE_RATE + 123) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time))
    return (noise * (1 + np.sin(time))).astype(np.float32)


def test_the_frames_are_those_of_the_whole_clip(minutes: Waveform, tmp_path: Path) -> None:
    embeddings, scores = by_frame(minutes)
    found = recognise_clip(
        Counting(), minutes, Flow(), frame_scores=True, frame_embeddings=True, scratch=tmp_path
    )
    assert len(scores) == frame_count(len(minutes))
    assert np.array_equal(found.frame_scores, scores)
    assert isinstance(found.frame_embeddings, np.memmap)
    assert np.array_equal(found.frame_embeddings, embeddings)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(found.recognition.scores, scores.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.recognition.embedding, embeddings.mean(axis=0), atol=1e-6)


def test_the_clips_numbers_are_the_frame_weighted_means(minutes: Waveform) -> None:
    recogniser = Counting()
    found = recognise_clip(recogniser, minutes, Flow())
    bounds = segments(minutes)
    assert [(s.start, s.end) for s in found.segments] == [
        (start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in bounds
    ]
    assert found.segments[-1].end == len(minutes) / SAMPLE_RATE
    assert recogniser.lengths == [min(e + OVERLAP, len(minutes)) - s for s, e in bounds]
    weights = [frame_count(length) for length in recogniser.lengths]
    mean = np.average([s.scores for s in found.segments], axis=0, weights=weights)
    np.testing.assert_allclose(found.recognition.scores, mean, rtol=1e-6)
    assert found.recognition.scores.dtype == found.recognition.embedding.dtype == np.float32
    assert (found.frame_scores, found.frame_embeddings) == (None, None)


def test_only_so_many_segments_wait(minutes: Waveform) -> None:
    recogniser = Counting()
    found = recognise_clip(recogniser, minutes, Flow())
    assert recogniser.most == MOST_WAITING < len(found.segments)
    assert recogniser.waiting == 0


def test_a_short_clip_is_what_the_recogniser_says() -> None:
    recogniser = Recogniser(
        FunasrEncoder(read(BUNDLED), "test", device="cpu", dtype="fp32", bundled=True)
    )
    waveform = np.random.default_rng(0).normal(0, 0.1, 50_001).astype(np.float32)
    alone = recogniser.recognise(waveform, frames=True)
    found = recognise_clip(recogniser, waveform, Flow(), frame_scores=True, frame_embeddings=True)
    assert alone.frames is not None
    assert np.array_equal(found.recognition.scores, alone.scores)
    assert np.array_equal(found.recognition.embedding, alone.embedding)
    assert np.array_equal(found.frame_scores, alone.frames.scores)
    assert np.array_equal(found.frame_embeddings, alone.frames.embeddings)
    [segment] = found.segments
    assert (segment.start, segment.end) == (0.0, 50_001 / SAMPLE_RATE)
    assert np.array_equal(segment.scores, alone.scores)


def test_a_segment_that_cannot_be_heard_ends_it(minutes: Waveform) -> None:
    loud, flow, recogniser = minutes.copy(), Flow(), Counting()
    loud[2 * SAMPLE_RATE] = 9.0
    with pytest.raises(NoAudio, match="too loud"):
        recognise_clip(recogniser, loud, flow)
    assert flow.cancelled
    assert len(recogniser.lengths) == MOST_WAITING < len(segments(minutes))


def test_a_flow_that_is_cancelled_ends_it(minutes: Waveform) -> None:
    flow = Flow()
    flow.cancel()
    with pytest.raises(ClientGone):
        recognise_clip(Recogniser(FrameEncoder()), minutes, flow)


def test_it_goes_on_only_while_it_may(minutes: Waveform) -> None:
    recogniser, flow = Counting(), Flow()

    def go_on() -> None:
        if len(recogniser.lengths) == 10:
            raise Unavailable("The service is stopping.")

    with pytest.raises(Unavailable, match="stopping"):
        recognise_clip(recogniser, minutes, flow, go_on=go_on)
    assert flow.cancelled
    assert len(recogniser.lengths) == 10


def test_a_full_disk_leaves_nothing(minutes: Waveform, tmp_path: Path) -> None:
    flow = Flow()
    with pytest.raises(Unavailable, match="disk"):
        recognise_clip(
            Counting(), minutes, flow, frame_embeddings=True, scratch=tmp_path / "missing"
        )
    assert flow.cancelled
    assert list(tmp_path.iterdir()) == []


class Stop(Exception):
    pass


def test_a_clip_is_given_up_while_pauses_are_looked_for(minutes: Waveform) -> None:
    asked = 0

    def go_on() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first segment would be asked for once
            raise Stop

    recogniser = Counting()
    with pytest.raises(Stop):
        recognise_clip(recogniser, minutes, Flow(), go_on=go_on)
    assert recogniser.lengths == []
