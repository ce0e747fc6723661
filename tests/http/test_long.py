"""Calls of minutes: segments in the answer, each side by its own pauses, nothing left behind."""

from __future__ import annotations

import concurrent.futures
import io
import itertools
import json
import os
import resource
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile
from numpy.typing import NDArray

from app.domain import LABELS, SAMPLE_RATE, frame_count
from app.http.schemas import RecogniseAnswer
from tests.conftest import ROOT
from tests.service import Service

VOICES = sorted((ROOT / "tests" / "data").glob("*_voice_*.flac"))


def call(seconds: float, seed: int) -> NDArray[np.int16]:
    """Voices and pauses of 0.4 to 1 s in turn, no two calls alike."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE)
    pieces: list[NDArray[np.int16]] = []
    while sum(map(len, pieces)) < samples:
        voice = VOICES[generator.integers(len(VOICES))]
        pieces.append(soundfile.read(voice, dtype="int16")[0])
        pieces.append(generator.integers(-9, 9, int(generator.uniform(0.4, 1) * 16_000), np.int16))
    return np.concatenate(pieces)[:samples]


def flac(samples: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def check(body: dict[str, Any], samples: int) -> None:
    """The segments tile the clip, and its scores are their mean by frames."""
    RecogniseAnswer.model_validate(body, extra="forbid")
    segments = body["segments"]
    assert body["duration"] == segments[-1]["end"] == samples / SAMPLE_RATE
    assert segments[0]["start"] == 0
    assert all(a["end"] == b["start"] for a, b in itertools.pairwise(segments))
    starts = np.array([segment["start"] for segment in segments]) * SAMPLE_RATE
    np.testing.assert_array_equal(starts, starts.round() // 320 * 320)
    frames = np.diff([*starts / 320, frame_count(samples)])
    for label in LABELS:
        mean = np.average([segment["scores"][label] for segment in segments], weights=frames)
        assert body["scores"][label] == pytest.approx(mean, abs=1e-6)
    for segment in segments:
        assert segment["emotion"] == max(segment["scores"], key=segment["scores"].__getitem__)
        assert segment["confidence"] == segment["scores"][segment["emotion"]]
        if len(segments) > 1:
            assert 1 <= segment["end"] - segment["start"] <= 30


def test_a_short_clip_is_one_segment(service: Service, audio: Path) -> None:
    body = service.post(audio / "calm_voice_a.flac").json()
    check(body, round(body["duration"] * SAMPLE_RATE))
    [segment] = body["segments"]
    assert {name: segment[name] for name in ("emotion", "confidence", "scores")} == {
        name: body[name] for name in ("emotion", "confidence", "scores")
    }


def test_a_long_call(service: Service) -> None:
    samples = call(100, 1)
    key = uuid.uuid4().hex
    answer = service.post_bytes(
        flac(samples), key=key, granularity="frame", extract_embedding="true"
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    check(body, len(samples))
    assert len(body["segments"]) >= 4
    count = frame_count(len(samples))
    assert len(body["frames"]["emotions"]) == count
    embedding = np.load(service.directory / body["embedding_path"])
    assert embedding.shape == (count, body["model"]["dimension"])
    kept = np.load(io.BytesIO(service.get(f"/clips/{body['clip_id']}/embedding").content))
    np.testing.assert_allclose(embedding.mean(axis=0, dtype=np.float64), kept, atol=1e-4)
    written = service.directory / body["result_dir"] / "result.json"
    assert json.loads(written.read_text()) == body
    repeat = service.post_bytes(
        flac(samples), key=key, granularity="frame", extract_embedding="true"
    )
    assert repeat.json() == body
    heard, _ = soundfile.read(service.directory / body["processed_audio_path"], dtype="int16")
    assert np.array_equal(heard, samples)
    played = service.get(f"/clips/{body['clip_id']}/audio")
    assert np.array_equal(soundfile.read(io.BytesIO(played.content), dtype="int16")[0], samples)


def test_each_side_of_a_call_has_its_own_pauses(service: Service) -> None:
    sides = [call(75, 2), call(75, 3)]
    split = service.post_bytes(flac(np.stack(sides, axis=1)), channel="split").json()
    parts = [split, split["channels"]["right"]]
    for samples, part in zip(sides, parts, strict=True):
        check(part, len(samples))
        alone = service.post_bytes(flac(samples)).json()
        bounds = [[(s["start"], s["end"]) for s in one["segments"]] for one in (alone, part)]
        assert bounds[0] == bounds[1]
        for mine, its in zip(alone["segments"], part["segments"], strict=True):
            assert mine["scores"] == pytest.approx(its["scores"], abs=1e-5)
        assert alone["scores"] == pytest.approx(part["scores"], abs=1e-5)
    assert len({tuple(s["end"] for s in part["segments"]) for part in parts}) == 2


def test_a_search_hears_long_audio(service: Service) -> None:
    content = flac(call(80, 4))
    clip_id = service.post_bytes(content).json()["clip_id"]
    answer = requests.post(
        f"{service.url}/api/v1/search", params={"k": 1}, files={"audio_file": content}
    )
    assert answer.status_code == 200, answer.text
    [nearest] = answer.json()["neighbours"]
    assert nearest["clip_id"] == clip_id
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)


def test_the_limit_is_ten_minutes(service: Service) -> None:
    content = flac(np.zeros(600 * SAMPLE_RATE + 1, np.int16))
    answer = service.post_bytes(content)
    assert answer.status_code == 413
    assert "600 seconds" in answer.json()["detail"]


def unnamed(service: Service) -> list[str]:
    """Files without a name that the service has open or mapped."""
    assert service.process is not None
    process = Path(f"/proc/{service.process.pid}")
    names = [os.readlink(entry) for entry in (process / "fd").iterdir() if os.path.lexists(entry)]
    names += (process / "maps").read_text().splitlines()
    return [name for name in names if str(service.directory) in name and "(deleted)" in name]


def test_a_disk_that_takes_no_long_audio(start: Callable[..., Service]) -> None:
    """Files of the service may have 3 MB: its database fits, the audio does not."""
    service, content = start(), flac(call(100, 5))
    before = service.files()
    assert service.process is not None
    limits = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (3 << 20, limits[1]))
    refused = service.post_bytes(content)
    assert refused.status_code == 503
    assert refused.json()["type"] == "unavailable"
    assert service.files() == before
    assert unnamed(service) == []
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, limits)
    check(service.post_bytes(content).json(), 100 * SAMPLE_RATE)
    assert unnamed(service) == []


def wait_for_audio(service: Service) -> None:
    """Until the service has the call on disk and recognises it."""
    give_up = time.monotonic() + 60
    while not unnamed(service):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_amid_a_long_call_leaves_nothing(
    start: Callable[..., Service], sign: signal.Signals
) -> None:
    service = start()
    before = service.files()
    listing = sorted(path.name for path in service.data_dir.iterdir())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        posted = pool.submit(service.post_bytes, flac(call(590, 6)))
        wait_for_audio(service)
        service.stop(sign)
        if sign == signal.SIGKILL:
            assert isinstance(posted.exception(), requests.RequestException)
        else:
            answer = posted.result()
            assert answer.status_code == 503
            assert "stopping" in answer.json()["detail"]
    assert service.files() == before
    service.start()
    assert service.get("/clips/count").json() == {"count": 0}
    assert {path.name for path in service.data_dir.iterdir()} <= {*listing, "index", "audio"}
