"""Emotion over time in stored clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.domain import LABELS, frame_count
from app.library.frames import mean_of_each
from tests.service import Service


def test_frames_are_those_of_recognise(service: Service, audio: Path) -> None:
    posted = service.post(audio / "angry_voice_a.flac", granularity="frame").json()
    told = service.get(f"/clips/{posted['clip_id']}/frames").json()
    assert told["clip_id"] == posted["clip_id"]
    assert told["model"] == posted["model"]["id"]
    assert told["hop"] == 0.02
    assert list(told["scores"]) == list(LABELS)
    assert len(told["emotions"]) == len(posted["frames"]["emotions"])
    for label in LABELS:
        # The kept audio has 16 bits a sample.
        np.testing.assert_allclose(
            told["scores"][label], posted["frames"]["scores"][label], atol=2e-3
        )
    assert [one["end"] for one in told["segments"]] == [posted["duration"]]


@pytest.mark.parametrize("points", [1, 7, 50])
def test_points_are_means_of_frames(service: Service, audio: Path, points: int) -> None:
    clip_id = service.store(audio / "angry_voice_a.flac")
    every = service.get(f"/clips/{clip_id}/frames", points=20_000).json()
    told = service.get(f"/clips/{clip_id}/frames", points=points).json()
    scores = np.array(list(every["scores"].values())).T
    assert len(scores) == frame_count(round(every["segments"][-1]["end"] * 16_000))
    each = round(told["hop"] / 0.02)
    expected = [scores[at : at + each].mean(axis=0) for at in range(0, len(scores), each)]
    assert len(expected) <= points
    np.testing.assert_allclose(np.array(list(told["scores"].values())).T, expected, atol=1e-6)
    assert told["emotions"] == [LABELS[int(np.argmax(one))] for one in expected]


def test_the_last_mean_is_of_what_is_left() -> None:
    scores = np.arange(14, dtype=np.float32).reshape(7, 2)
    assert mean_of_each(scores, 3).tolist() == [[2, 3], [8, 9], [12, 13]]


def test_nothing_is_stored(service: Service, audio: Path) -> None:
    clip_id = service.store(audio / "calm_voice_a.mp3")
    before = service.files(), service.get("/clips/count").json()
    assert service.get(f"/clips/{clip_id}/frames").status_code == 200
    assert (service.files(), service.get("/clips/count").json()) == before


def test_what_cannot_be_heard_is_told(service: Service, audio: Path) -> None:
    clip_id = service.store(audio / "calm_voice_a.mp3")
    assert service.get(f"/clips/{clip_id}/frames", points=0).status_code == 422
    assert service.get(f"/clips/{clip_id}/frames", points=20_001).status_code == 422
    service.http.delete(f"{service.url}/api/v1/clips/{clip_id}")
    answer = service.get(f"/clips/{clip_id}/frames")
    assert (answer.status_code, answer.json()["type"]) == (404, "not-found")


def test_audio_that_is_not_kept(tmp_path: Path, audio: Path) -> None:
    with Service(tmp_path, EMOSEEK_KEEP_AUDIO="false") as service:
        clip_id = service.store(audio / "calm_voice_a.mp3")
        answer = service.get(f"/clips/{clip_id}/frames")
        assert (answer.status_code, answer.json()["type"]) == (404, "not-found")
