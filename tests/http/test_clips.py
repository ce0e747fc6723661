"""Stored clips over HTTP: listed, filtered, counted, changed, deleted."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from app.http.schemas import ClipDetail
from tests.http.test_errors import is_problem, pcm
from tests.service import Service

SAID: list[dict[str, Any]] = [
    {"customer_id": "anna", "agent_id": "x", "call_id": "1", "tags": ["refund", "late"]},
    {"customer_id": "anna", "agent_id": "y", "call_id": "2", "tags": ["refund"]},
    {"customer_id": "bert", "agent_id": "x", "call_id": "3", "metadata": {"line": 3, "vip": True}},
    {"customer_id": "bert", "agent_id": "y", "call_id": "4", "metadata": {"line": "3"}},
    {"customer_id": "cleo", "agent_id": "x", "call_id": "5", "metadata": {"line": 4}},
]


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, audio: Path
) -> Iterator[tuple[Service, list[dict[str, Any]]]]:
    """A service with five clips, recorded on 1 to 5 May 2024 at noon UTC, and what they are."""
    with Service(tmp_path_factory.mktemp("clips")) as service:
        paths = sorted(audio.glob("*_voice_*.flac"))
        for day, (path, said) in enumerate(zip(paths, SAID, strict=False), 1):
            form = said | {"recorded_at": f"2024-05-0{day}T14:00:00+02:00"}
            form["metadata"] = json.dumps(form.get("metadata", {}))
            service.store(path, **form)
        clips = [service.get(f"/clips/{i}").json() for i in range(1, 6)]
        yield service, clips


def matches(clip: dict[str, Any], params: dict[str, Any]) -> bool:
    """The filters again, in plain Python over what the service says of a clip."""

    def many(name: str) -> list[str]:
        value = params.get(name, [])
        return value if isinstance(value, list) else [value]

    def meta(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return all(
        [
            not many("emotion") or clip["emotion"] in many("emotion"),
            clip["confidence"] >= params.get("min_confidence", 0),
            *(
                clip[name] == params.get(name, clip[name])
                for name in ("customer_id", "agent_id", "call_id", "file_sha256")
            ),
            *(tag in clip["tags"] for tag in many("tag")),
            params.get("since", "") <= clip["recorded_at"],
            clip["recorded_at"] < params.get("until", "9"),
            *(
                name[5:] in clip["metadata"] and meta(clip["metadata"][name[5:]]) == value
                for name, value in params.items()
                if name.startswith("meta.")
            ),
        ]
    )


FILTERS: list[dict[str, Any]] = [
    {},
    {"customer_id": "anna"},
    {"customer_id": "nobody"},
    {"agent_id": "x"},
    {"call_id": "4"},
    {"tag": "refund"},
    {"tag": ["refund", "late"]},
    {"since": "2024-05-02T12:00:00Z"},
    {"until": "2024-05-02T12:00:00Z"},
    {"since": "2024-05-02T12:00:00Z", "until": "2024-05-04T12:00:00Z"},
    {"meta.line": "3"},
    {"meta.vip": "true"},
    {"meta.line": "5"},
    {"min_confidence": 0.3},
    {"min_confidence": 1.0},
    {"emotion": ["happy", "sad", "angry"]},
    {"emotion": "unknown"},
]


@pytest.mark.parametrize("one", FILTERS, ids=str)
def test_filters_mean_the_same_everywhere(
    stored: tuple[Service, list[dict[str, Any]]], one: dict[str, Any]
) -> None:
    service, clips = stored
    for other in FILTERS:
        params = one | other
        wanted = [clip["clip_id"] for clip in reversed(clips) if matches(clip, params)]
        listed = service.get("/clips", **params).json()
        assert [clip["clip_id"] for clip in listed["clips"]] == wanted
        assert service.get("/clips/count", **params).json() == {"count": len(wanted)}
        facets = service.get("/clips/facets", by="customer_id,emotion", **params).json()["facets"]
        for name, values in facets.items():
            for value in values:
                assert value["count"] == sum(
                    clip[name] == value["value"] for clip in clips if clip["clip_id"] in wanted
                )
            assert sum(value["count"] for value in values) == len(wanted)
        for clip in clips[:2]:
            near = service.neighbours(clip["clip_id"], k=5, **params)
            assert sorted(near) == sorted(set(wanted) - {clip["clip_id"]})


def test_an_offset_whose_plus_became_a_blank(
    stored: tuple[Service, list[dict[str, Any]]],
) -> None:
    service, _ = stored
    for offset in ("+02:00", "%2B02:00", "%2B0200", "%2B02"):
        url = f"{service.url}/api/v1/clips/count?since=2024-05-02T14:00:00{offset}"
        assert requests.get(url).json() == {"count": 4}, offset


def test_results_are_deleted_where_they_were_written(start: Any, tmp_path: Path) -> None:
    service = start(EMOSEEK_OUTPUTS_DIR=str(tmp_path / "elsewhere"))
    clip_id = service.post_bytes(pcm(0.1)).json()["clip_id"]
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    service.stop()
    service.start(EMOSEEK_OUTPUTS_DIR=str(tmp_path / "outputs"))
    assert requests.delete(f"{service.url}/api/v1/clips/{clip_id}").status_code == 204
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_each_emotion_is_a_filter(stored: tuple[Service, list[dict[str, Any]]]) -> None:
    service, clips = stored
    for emotion in {clip["emotion"] for clip in clips}:
        found = service.get("/clips", emotion=emotion).json()["clips"]
        assert [c["clip_id"] for c in found] == [
            c["clip_id"] for c in reversed(clips) if c["emotion"] == emotion
        ]


def test_tags_have_facets(stored: tuple[Service, list[dict[str, Any]]]) -> None:
    service, _ = stored
    assert service.get("/clips/facets", by="tag").json()["facets"]["tag"] == [
        {"value": "refund", "count": 2},
        {"value": "late", "count": 1},
    ]


def test_pages_are_stable_while_clips_are_added(service: Service) -> None:
    mark = "paged"
    ids = [service.post_bytes(pcm(0.1), tags=[mark]).json()["clip_id"] for _ in range(5)]
    seen: list[int] = []
    cursor = None
    for number in itertools.count():
        page = service.get("/clips", tag=mark, limit=2, cursor=cursor).json()
        seen += [clip["clip_id"] for clip in page["clips"]]
        if number == 0:
            service.post_bytes(pcm(0.1), tags=[mark])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_audio_is_what_the_model_heard(service: Service, audio: Path) -> None:
    path = audio / "calm_voice_a.flac"
    clip_id = service.store(path)
    whole = service.get(f"/clips/{clip_id}/audio")
    assert whole.headers["content-type"] == "audio/flac"
    heard, rate = soundfile.read(io.BytesIO(whole.content), dtype="int16")
    original, _ = soundfile.read(path, dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(heard, original)
    part = requests.get(whole.url, headers={"Range": "bytes=4-9"})
    assert part.status_code == 206
    assert part.content == whole.content[4:10]


def test_audio_need_not_be_kept(start: Any, audio: Path) -> None:
    service = start(EMOSEEK_KEEP_AUDIO="false")
    clip_id = service.store(audio / "calm_voice_a.flac")
    is_problem(service.get(f"/clips/{clip_id}/audio"), 404, "not-found")
    assert service.get(f"/clips/{clip_id}").json()["has_audio"] is False
    assert not (service.data_dir / "audio").exists()


def test_changes(service: Service) -> None:
    clip_id = service.post_bytes(pcm(0.5), customer_id="old", tags=["a"]).json()["clip_id"]
    url = f"{service.url}/api/v1/clips/{clip_id}"
    before = requests.get(url).json()
    changed = requests.patch(
        url,
        json={
            "customer_id": "new",
            "recorded_at": "2020-01-01T00:00:00Z",
            "tags": ["b", "a", "b"],
            "metadata": {"k": "v"},
        },
    ).json()
    ClipDetail.model_validate(changed, extra="forbid")
    assert changed == before | {
        "customer_id": "new",
        "recorded_at": "2020-01-01T00:00:00Z",
        "tags": ["a", "b"],
        "metadata": {"k": "v"},
    }
    assert requests.get(url).json() == changed
    for params, count in (
        ({"customer_id": "old"}, 0),
        ({"customer_id": "new", "until": "2020-01-02T00:00:00Z", "meta.k": "v", "tag": "b"}, 1),
    ):
        assert service.get("/clips/count", **params).json()["count"] == count
    cleared = requests.patch(
        url, json={"customer_id": None, "recorded_at": None, "tags": None, "metadata": None}
    ).json()
    assert cleared == before | {"customer_id": None, "tags": []}
    assert service.get("/clips/count", tag="b").json()["count"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"emotion": "sad"},
        {"customer_id": ""},
        {"tags": "a"},
        {"metadata": [1]},
        {"recorded_at": "2024-01-01T00:00:00"},
        {"metadata": {"a": "x" * 17_000}},
    ],
    ids=str,
)
def test_changes_out_of_range(service: Service, body: dict[str, Any]) -> None:
    clip_id = service.post_bytes(pcm(0.5)).json()["clip_id"]
    url = f"{service.url}/api/v1/clips/{clip_id}"
    before = requests.get(url).json()
    [parameter] = body
    assert parameter in is_problem(requests.patch(url, json=body), 422, "invalid-parameter")
    assert requests.get(url).json() == before


def test_changing_no_clip(service: Service) -> None:
    url = f"{service.url}/api/v1/clips/999999999"
    is_problem(requests.patch(url, json={"customer_id": "x"}), 404, "not-found")


def test_a_deleted_clip_is_gone_from_everywhere(service: Service, audio: Path) -> None:
    keep = service.store(audio / "calm_voice_b.flac")
    files, size = service.files(), service.get("/status").json()["index"]["size"]
    posted = service.post(audio / "calm_voice_a.flac", extract_embedding="true").json()
    clip_id = posted["clip_id"]
    assert clip_id in service.neighbours(keep, k=1000)
    assert requests.delete(f"{service.url}/api/v1/clips/{clip_id}").status_code == 204
    assert service.files() == files
    assert service.get("/status").json()["index"]["size"] == size
    assert clip_id not in service.neighbours(keep, k=1000)
    for path in ("", "/audio", "/embedding", "/similar"):
        is_problem(service.get(f"/clips/{clip_id}{path}"), 404, "not-found")
    again = requests.delete(f"{service.url}/api/v1/clips/{clip_id}")
    is_problem(again, 404, "not-found")
    assert service.store(audio / "calm_voice_a.flac") > clip_id


def test_deleting_by_filter(service: Service) -> None:
    ids = [
        service.post_bytes(pcm(0.1), customer_id="gone", call_id=str(i % 2)).json()["clip_id"]
        for i in range(5)
    ]
    url = f"{service.url}/api/v1/clips"
    some = requests.delete(url, params={"customer_id": "gone", "call_id": "1"})
    assert some.json() == {"deleted": 2}
    left = service.get("/clips", customer_id="gone").json()["clips"]
    assert [clip["clip_id"] for clip in left] == [ids[4], ids[2], ids[0]]
    assert requests.delete(url, params={"customer_id": "gone"}).json() == {"deleted": 3}
    assert service.get("/clips/count", customer_id="gone").json() == {"count": 0}
