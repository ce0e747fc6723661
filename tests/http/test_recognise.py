"""POST /api/v1/emotion/recognize."""

from __future__ import annotations

import concurrent.futures
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from app.domain import LABELS, frame_count
from app.http.schemas import RecogniseAnswer
from tests.conftest import ROOT
from tests.service import Service

RECORDINGS = sorted((ROOT / "tests" / "data").iterdir())


def silence(seconds: float, **form: Any) -> bytes:
    """A file of noise so soft that nobody hears it, and different every time."""
    noise = np.random.default_rng().standard_normal(int(seconds * 16_000)) * 1e-3
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, **{"format": "WAV", "subtype": "PCM_16", **form})
    return file.getvalue()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_every_format_is_recognised(service: Service, path: Path) -> None:
    answer = service.post(path)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    RecogniseAnswer.model_validate(body, extra="forbid")
    assert list(body["scores"]) == list(LABELS)
    assert sum(body["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert body["emotion"] == max(body["scores"], key=body["scores"].__getitem__)
    assert body["confidence"] == body["scores"][body["emotion"]]
    assert body["warnings"] == []
    assert "embedding_path" not in body
    assert body["model"]["bundled"]
    assert 0.4 < body["duration"] < 10


def test_a_client_of_the_old_interface(service: Service, audio: Path) -> None:
    """Posts the three fields it knows and reads the result files."""
    with (audio / "calm_voice_a.flac").open("rb") as file:
        answer = requests.post(
            f"{service.url}/api/v1/emotion/recognize",
            files={"audio_file": file},
            data={"granularity": "utterance", "extract_embedding": "true"},
        ).json()
    assert answer["success"] is True
    assert answer["embedding_saved"] is True
    assert answer["result_dir"].startswith("outputs/outputs_")
    embedding = np.load(service.directory / answer["embedding_path"])
    assert embedding.dtype == np.float32
    assert embedding.shape == (answer["model"]["dimension"],)
    heard, rate = soundfile.read(service.directory / answer["processed_audio_path"])
    assert rate == 16_000
    assert heard.shape == (round(answer["duration"] * 16_000),)
    kept = json.loads((service.directory / answer["result_dir"] / "result.json").read_text())
    assert kept == answer


def test_four_clients_at_once_share_no_directory(service: Service, audio: Path) -> None:
    paths = [path for path in RECORDINGS if path.suffix == ".flac"] * 5
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [a.json() for a in pool.map(service.post, paths[:40])]
    assert all(answer["success"] for answer in answers)
    assert len({answer["result_dir"] for answer in answers}) == len(answers) == 40
    assert len({answer["clip_id"] for answer in answers}) == 40


def test_frames(service: Service, audio: Path) -> None:
    answer = service.post(
        audio / "calm_voice_a.flac", granularity="frame", extract_embedding="true"
    ).json()
    count = frame_count(round(answer["duration"] * 16_000))
    frames = answer["frames"]
    assert frames["hop"] == 0.02
    assert len(frames["emotions"]) == count
    assert set(frames["scores"]) == set(LABELS)
    table = np.array([frames["scores"][label] for label in LABELS])  # (9, T)
    assert table.shape == (9, count)
    np.testing.assert_allclose(table.sum(axis=0), 1, atol=1e-5)
    assert frames["emotions"] == [LABELS[i] for i in table.argmax(axis=0)]
    embedding = np.load(service.directory / answer["embedding_path"])
    assert embedding.shape == (count, answer["model"]["dimension"])
    # The utterance embedding, which the clip keeps, is the mean over frames.
    kept = np.load(io.BytesIO(service.get(f"/clips/{answer['clip_id']}/embedding").content))
    np.testing.assert_allclose(embedding.mean(axis=0), kept, atol=1e-4)


def test_what_is_said_of_a_clip_is_kept(service: Service, audio: Path) -> None:
    said = {
        "customer_id": "Müller & Söhne",
        "call_id": "c-1",
        "agent_id": "a/2",
        "recorded_at": "2024-05-01T12:00:00+02:00",
        "tags": ["refund", "angry caller", "refund"],
        "metadata": json.dumps({"line": 3, "nested": {"deep": [1, None]}}),
    }
    clip = service.get(f"/clips/{service.store(audio / 'calm_voice_a.flac', **said)}").json()
    assert clip["customer_id"] == "Müller & Söhne"
    assert clip["agent_id"] == "a/2"
    assert clip["recorded_at"] == "2024-05-01T10:00:00Z"
    assert clip["tags"] == ["angry caller", "refund"]
    assert clip["metadata"] == {"line": 3, "nested": {"deep": [1, None]}}


def test_channels_of_a_stereo_call(start: Callable[..., Service], audio: Path) -> None:
    service = start()
    stereo = audio / "stereo_call_48k.flac"
    ids = {channel: service.store(stereo, channel=channel) for channel in ("left", "right", "mix")}
    split = service.post(stereo, channel="split").json()
    right = split["channels"]["right"]
    assert split["channel"] == "left"
    assert right["channel"] == "right"
    assert right["clip_id"] == split["clip_id"] + 1
    assert split["result_dir"] != right["result_dir"]
    for channel, answer in (("left", split), ("right", right)):
        alone = service.get(f"/clips/{ids[channel]}").json()
        assert alone["scores"] == answer["scores"]
        assert answer["duplicate_of"] == ids[channel]
    assert split["scores"] != right["scores"]


def test_the_same_file_again_is_a_new_clip_and_a_duplicate(
    start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    first = service.post(audio / "calm_voice_a.flac").json()
    again = service.post(audio / "calm_voice_a.flac").json()
    assert first["duplicate_of"] is None
    assert (again["duplicate_of"], again["duplicate_kind"]) == (first["clip_id"], "same_file")
    samples, rate = soundfile.read(audio / "calm_voice_a.flac", dtype="int16")
    other_container = io.BytesIO()
    soundfile.write(other_container, samples, rate, format="WAV", subtype="PCM_16")
    wav = service.post_bytes(other_container.getvalue()).json()
    assert wav["duplicate_of"] == first["clip_id"]
    assert service.post(audio / "angry_voice_a.flac").json()["duplicate_of"] is None
    requests.delete(f"{service.url}/api/v1/clips/{first['clip_id']}")
    assert service.get(f"/clips/{wav['clip_id']}").json()["duplicate_of"] == again["clip_id"]
    assert service.get(f"/clips/{again['clip_id']}").json()["duplicate_of"] is None


def test_a_clip_that_is_not_to_be_indexed_never_is(
    start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    shown = service.store(audio / "calm_voice_a.flac")
    hidden = service.post(audio / "calm_voice_a.flac", index="false").json()
    assert hidden["indexed"] is False
    for _ in range(2):
        assert service.neighbours(shown) == []
        assert service.neighbours(hidden["clip_id"]) == [shown]
        assert service.get("/status").json()["index"]["expected"] == 1
        service.stop()
        service.start()


def test_fields_that_are_not_known_are_told(service: Service, audio: Path) -> None:
    answer = service.post(audio / "calm_voice_a.flac", customerid="x").json()
    assert answer["warnings"] == ["The field 'customerid' is not known and was ignored."]
    with (audio / "calm_voice_a.flac").open("rb") as file:
        in_query = requests.post(
            f"{service.url}/api/v1/emotion/recognize?customer_id=x", files={"audio_file": file}
        ).json()
    assert in_query["warnings"] == [
        "'customer_id' belongs into the form; in the query it is ignored."
    ]
    assert service.get(f"/clips/{in_query['clip_id']}").json()["customer_id"] is None


def test_silence_is_told(service: Service) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000), 16_000, format="WAV")
    assert service.post_bytes(file.getvalue()).json()["warnings"] == [
        "The audio is digital silence."
    ]


class TestIdempotencyKey:
    def test_a_repeat_gets_the_first_answer_and_stores_nothing(
        self, service: Service, audio: Path
    ) -> None:
        key, path = uuid.uuid4().hex, audio / "calm_voice_a.flac"
        first = service.post_bytes(path.read_bytes(), key=key, customer_id="c").json()
        count = service.get("/clips/count").json()
        again = service.post_bytes(path.read_bytes(), "other name.flac", key=key, customer_id="c")
        assert again.json() == first
        assert service.get("/clips/count").json() == count

    def test_another_body_is_a_conflict(self, service: Service, audio: Path) -> None:
        key, content = uuid.uuid4().hex, (audio / "calm_voice_a.flac").read_bytes()
        assert service.post_bytes(content, key=key).ok
        assert service.post_bytes(content, key=key, customer_id="x").status_code == 409
        other = (audio / "calm_voice_b.flac").read_bytes()
        assert service.post_bytes(other, key=key).status_code == 409

    def test_concurrent_repeats_wait_for_the_first(self, service: Service) -> None:
        key, content = uuid.uuid4().hex, silence(5)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            posts = [pool.submit(service.post_bytes, content, key=key) for _ in range(8)]
        answers = [post.result().json() for post in posts]
        assert all(answer == answers[0] for answer in answers)
        found = service.get("/clips/count", file_sha256=_sha256(content)).json()
        assert found == {"count": 1}

    def test_refusals_are_not_remembered(self, service: Service) -> None:
        key = uuid.uuid4().hex
        assert service.post_bytes(b"not audio", key=key).status_code == 415
        assert service.post_bytes(silence(1), key=key).ok

    def test_a_deleted_clip_is_gone(self, service: Service) -> None:
        key, content = uuid.uuid4().hex, silence(1)
        clip_id = service.post_bytes(content, key=key).json()["clip_id"]
        assert requests.delete(f"{service.url}/api/v1/clips/{clip_id}").status_code == 204
        assert service.post_bytes(content, key=key).status_code == 410


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
