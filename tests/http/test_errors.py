"""The error table, row by row; a refused request leaves nothing behind."""

from __future__ import annotations

import concurrent.futures
import io
import json
import re
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from tests.conftest import ROOT
from tests.http.test_recognise import silence
from tests.service import Service


@pytest.fixture
def untouched(service: Service) -> Iterator[None]:
    """The test leaves no row, no index entry and no file behind."""

    def everything() -> tuple[object, ...]:
        status = service.get("/status").json()
        return status["database"], status["index"]["size"], service.files()

    before = everything()
    yield
    assert everything() == before


def is_problem(answer: requests.Response, status: int, type_: str) -> str:
    """Checks an RFC 9457 answer; returns its detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (status, status, type_), body
    assert body["success"] is False
    assert set(body) == {"success", "type", "title", "status", "detail", "instance"}
    assert str(ROOT) not in answer.text
    assert "Traceback" not in answer.text
    detail: str = body["detail"]
    assert len(detail) > 10
    return detail


def pcm(seconds: float) -> bytes:
    return silence(seconds)


def header_only() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
    return file.getvalue()


def zero_channels() -> bytes:
    content = bytearray(pcm(0.5))
    content[22:24] = b"\0\0"
    return bytes(content)


def not_finite(value: float) -> bytes:
    samples = np.zeros(16_000, np.float32)
    samples[8000] = value
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", pcm(1))
    return file.getvalue()


def an_hour() -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC") as writer:
        for _ in range(60):
            writer.write(np.zeros(60 * 16_000, np.int16))
    assert len(file.getvalue()) < 2**20
    return file.getvalue()


def truncated_mp3(audio: Path) -> bytes:
    content = (audio / "calm_voice_a.mp3").read_bytes()
    return content[: len(content) * 2 // 3]


REFUSED: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty file": (lambda: b"", 400, "no-audio"),
    "header only": (header_only, 400, "no-audio"),
    "0.01 s": (lambda: pcm(0.01), 400, "no-audio"),
    "399 samples": (lambda: pcm(399 / 16_000), 400, "no-audio"),
    "NaN": (lambda: not_finite(np.nan), 400, "no-audio"),
    "infinity": (lambda: not_finite(np.inf), 400, "no-audio"),
    "text named .wav": (lambda: b"this is no audio\n" * 100, 415, "unsupported-audio"),
    "a zip": (zipped, 415, "unsupported-audio"),
    "zero channels": (zero_channels, 415, "unsupported-audio"),
    "an MP3 cut in its tag": (lambda: b"ID3\x04\0\0\0\0\x0f\x7f", 415, "unsupported-audio"),
    "an hour in a small file": (an_hour, 413, "too-large"),
    "samples like 1e20": (lambda: not_finite(1e20), 400, "no-audio"),
    "600.1 s": (lambda: silence(600.1, format="FLAC"), 413, "too-large"),
    "11 MB": (lambda: pcm(30) + b"\0" * (11 * 2**20), 413, "too-large"),
    "one byte too many": (lambda: pcm(1).ljust(10 * 2**20 + 1, b"\0"), 413, "too-large"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("untouched")
def test_refused_uploads(service: Service, name: str) -> None:
    make, status, type_ = REFUSED[name]
    is_problem(service.post_bytes(make(), extract_embedding="true"), status, type_)


def test_a_truncated_mp3_is_heard_with_a_warning(service: Service, audio: Path) -> None:
    answer = service.post_bytes(truncated_mp3(audio), "a.mp3")
    assert answer.status_code == 200
    assert 0.8 < answer.json()["duration"] < 1.6
    assert answer.json()["warnings"]


def test_limits_are_inclusive(service: Service) -> None:
    assert service.post_bytes(pcm(30)).json()["duration"] == 30
    assert service.post_bytes(pcm(400 / 16_000)).json()["duration"] == 0.025
    padded = service.post_bytes(pcm(1).ljust(10 * 2**20, b"\0"))
    assert padded.status_code == 200, padded.text


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\..\\b", "\u202e.wav"])
def test_a_path_in_the_file_name_does_nothing(service: Service, name: str) -> None:
    before = service.files()
    assert service.post_bytes(pcm(1), name).ok
    new = service.files() - before
    assert len(new) == 3
    assert all(path.startswith(("outputs/outputs_", "data/audio/")) for path in new)


def test_a_refused_upload_costs_no_memory(start: Callable[..., Service]) -> None:
    service = start()

    def peak_kb() -> int:
        assert service.process is not None
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def written() -> int:
        assert service.process is not None
        counts = Path(f"/proc/{service.process.pid}/io").read_text()
        return int(counts.partition("wchar: ")[2].split()[0])

    def upload() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\n'
        for _ in range(300):
            yield b"\0" * 2**20
        yield b"\r\n--x--\r\n"

    assert service.post_bytes(pcm(30)).ok
    before, bytes_before = peak_kb(), written()
    answer = requests.post(
        f"{service.url}/api/v1/emotion/recognize",
        data=upload(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    is_problem(answer, 413, "too-large")
    assert peak_kb() - before < 40_000
    assert written() - bytes_before < 20 * 2**20  # nor a temporary file


FIELDS: dict[str, dict[str, Any]] = {
    "granularity": {"granularity": "word"},
    "extract_embedding": {"extract_embedding": "perhaps"},
    "channel": {"channel": "middle"},
    "customer_id": {"customer_id": "x" * 201},
    "call_id": {"call_id": "a\0b"},
    "recorded_at": {"recorded_at": "2024-05-01T12:00:00"},
    "recorded_at: ": {"recorded_at": "20240501"},
    "tags": {"tags": [str(i) for i in range(101)]},
    "metadata": {"metadata": "[1]"},
}


@pytest.mark.parametrize("parameter", FIELDS)
@pytest.mark.usefixtures("untouched")
def test_fields_out_of_range_are_named(service: Service, parameter: str) -> None:
    answer = service.post_bytes(pcm(1), **FIELDS[parameter])
    assert parameter.strip(" :") in is_problem(answer, 422, "invalid-parameter")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        "[" * 100_000,
        '{"a":' * 40 + "1" + "}" * 40,
        "3",
        json.dumps({"a": "x" * 16384}),
    ],
    ids=["broken", "NaN", "NUL", "surrogate", "very deep", "deep", "number", "long"],
)
@pytest.mark.usefixtures("untouched")
def test_metadata_that_cannot_be_stored(service: Service, text: str) -> None:
    answer = service.post_bytes(pcm(1), metadata=text)
    assert "metadata" in is_problem(answer, 422, "invalid-parameter")


@pytest.mark.usefixtures("untouched")
def test_requests_without_a_file(service: Service) -> None:
    url = f"{service.url}/api/v1/emotion/recognize"
    assert "audio_file" in is_problem(requests.post(url), 422, "invalid-parameter")
    is_problem(requests.post(url, data={"audio_file": "text"}), 422, "invalid-parameter")
    broken = requests.post(
        url, data=b"--x\r\nbroken", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code in (400, 422)


@pytest.mark.usefixtures("untouched")
def test_a_channel_that_the_file_lacks(service: Service, audio: Path) -> None:
    for channel in ("left", "right", "split"):
        answer = service.post(audio / "calm_voice_a.flac", channel=channel)
        assert "channel" in is_problem(answer, 422, "invalid-parameter")


@pytest.mark.parametrize("clip_id", ["999999999", str(2**63 - 1)])
@pytest.mark.parametrize("path", ["", "/audio", "/embedding", "/similar"])
def test_no_such_clip(service: Service, clip_id: str, path: str) -> None:
    is_problem(service.get(f"/clips/{clip_id}{path}"), 404, "not-found")


@pytest.mark.parametrize("clip_id", ["0", "-1", "x", "1.5", "1.0", "+1", str(2**63), "1" * 400])
def test_ids_that_cannot_be(service: Service, clip_id: str) -> None:
    assert "clip_id" in is_problem(service.get(f"/clips/{clip_id}"), 422, "invalid-parameter")


def test_the_documentation_page_needs_no_other_host(service: Service) -> None:
    page = requests.get(f"{service.url}/docs").text
    assert "://" not in page
    for path in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert requests.get(service.url + path).ok, path


def test_literal_escapes_are_no_nul(service: Service) -> None:
    clip_id = service.post_bytes(pcm(0.1), metadata='{"a": "\\\\u0000"}').json()["clip_id"]
    assert service.get(f"/clips/{clip_id}").json()["metadata"] == {"a": "\\u0000"}


def test_a_form_part_that_is_too_large(service: Service) -> None:
    answer = service.post_bytes(pcm(0.1), metadata="x" * (2**20 + 1))
    is_problem(answer, 413, "too-large")


def test_errors_of_libraries_are_problems_too(service: Service) -> None:
    clip_id = service.post_bytes(pcm(0.1)).json()["clip_id"]
    url = f"{service.url}/api/v1/clips/{clip_id}/audio"
    beyond = requests.get(url, headers={"Range": "bytes=99999999-"})
    is_problem(beyond, 416, "requested-range-not-satisfiable")
    assert beyond.headers["content-range"].endswith(str(len(requests.get(url).content)))
    is_problem(requests.get(url, headers={"Range": "bytes=x"}), 400, "bad-request")
    is_problem(service.get("/clips/"), 404, "not-found")


def test_head_of_what_monitors_ask(service: Service) -> None:
    clip_id = service.post_bytes(pcm(0.1)).json()["clip_id"]
    for path in ("/healthz", "/readyz", f"/api/v1/clips/{clip_id}/audio"):
        answer = requests.head(service.url + path)
        assert answer.status_code == 200
        assert answer.content == b""


def test_no_such_route(service: Service) -> None:
    is_problem(service.get("/nothing"), 404, "not-found")
    is_problem(requests.put(f"{service.url}/api/v1/clips"), 405, "method-not-allowed")


BAD_FILTERS: dict[str, dict[str, Any]] = {
    "emotion": {"emotion": "gloomy"},
    "min_confidence": {"min_confidence": 1.5},
    "since": {"since": "2024-01-01T00:00:00"},
    "until": {"until": "yesterday"},
    "since: ": {"since": "2024"},
    "filter": {"tag": [str(i) for i in range(60)]},
    "customer_id": {"customer_id": ""},
    "emotoin": {"emotoin": "sad"},
    "call_id": {"call_id": ["a", "b"]},
    "meta.a": {"meta.a": "\0"},
    "file_sha256": {"file_sha256": "abc"},
}


@pytest.mark.parametrize("parameter", BAD_FILTERS)
def test_bad_filters_are_named_on_every_route(service: Service, parameter: str) -> None:
    for path in ("/clips", "/clips/count", "/clips/facets", "/clips/1/similar"):
        params = BAD_FILTERS[parameter] | ({"by": "emotion"} if "facets" in path else {})
        answer = service.get(path, **params)
        assert parameter.strip(" :") in is_problem(answer, 422, "invalid-parameter")
    answer = requests.delete(f"{service.url}/api/v1/clips", params=BAD_FILTERS[parameter])
    assert parameter.strip(" :") in is_problem(answer, 422, "invalid-parameter")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/clips", {"limit": 0}),
        ("/clips", {"limit": 1001}),
        ("/clips", {"cursor": "x"}),
        ("/clips", {"cursor": "9" * 30}),
        ("/clips", {"cursor": "9" * 5000}),
        ("/clips/facets", {"by": "score_angry"}),
        ("/clips/1/similar", {"k": 0}),
        ("/clips/1/similar", {"k": 1001}),
        ("/clips/1/similar", {"min_similarity": 2}),
        ("/clips/1/similar", {"group_by": "agent_id"}),
    ],
)
def test_parameters_out_of_range(service: Service, path: str, params: dict[str, Any]) -> None:
    [parameter] = params
    assert parameter in is_problem(service.get(path, **params), 422, "invalid-parameter")


def test_deleting_wants_a_filter(service: Service) -> None:
    is_problem(requests.delete(f"{service.url}/api/v1/clips"), 422, "invalid-parameter")


def test_a_full_queue_asks_to_come_back(start: Callable[..., Service]) -> None:
    service = start(EMOSEEK_MAX_CONCURRENCY="1", EMOSEEK_QUEUE_LENGTH="1")
    clips = [pcm(30) for _ in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(service.post_bytes, clips))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 12
    for answer in refused:
        is_problem(answer, 429, "queue-full")
        assert int(answer.headers["Retry-After"]) >= 1
    assert service.get("/clips/count").json() == {"count": 12 - len(refused)}
    assert len(service.files()) == 3 * (12 - len(refused))


def test_a_key_is_wanted_everywhere_but_on_healthz(start: Callable[..., Service]) -> None:
    service = start(EMOSEEK_API_KEY="correct horse")
    assert requests.get(f"{service.url}/healthz").status_code == 200
    for path in ("/readyz", "/api/v1/status", "/api/v1/clips", "/openapi.json", "/docs", "/no"):
        for header in ({}, {"Authorization": "Bearer correct horsf"}, {"Authorization": "é"}):
            encoded = {name: value.encode("latin-1") for name, value in header.items()}
            answer = requests.get(service.url + path, headers=encoded)
            is_problem(answer, 401, "unauthorised")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert service.post_bytes(pcm(1)).ok
    lower = requests.get(f"{service.url}/docs", headers={"Authorization": "bearer correct horse"})
    assert lower.ok
    is_problem(
        requests.post(
            f"{service.url}/api/v1/emotion/recognize", files={"audio_file": ("a.wav", pcm(1))}
        ),
        401,
        "unauthorised",
    )


def test_a_disk_that_takes_no_files(start: Callable[..., Service]) -> None:
    service = start()
    service.outputs_dir.write_text("a file where the directory should be")
    is_problem(service.post_bytes(pcm(1)), 503, "unavailable")
    assert service.get("/clips/count").json() == {"count": 0}
    assert service.files() == set()
    service.outputs_dir.unlink()
    assert service.post_bytes(pcm(1)).ok
