"""Similar clips over HTTP, against the formula on the embeddings that the service gives out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from app.http.schemas import SearchAnswer
from app.recogniser.model_dir import BUNDLED
from index.mean import shrunk_mean
from tests.http.test_errors import is_problem, pcm
from tests.service import Service

Library = tuple[Service, list[Path], NDArray[np.float32]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, audio: Path) -> Iterator[Library]:
    """A service with eight voices, two of them twice, and their embeddings in order of id."""
    with Service(tmp_path_factory.mktemp("search")) as service:
        paths = sorted(audio.glob("*_voice_*.flac"))
        paths += paths[:2]
        for number, path in enumerate(paths):
            customer = {"customer_id": f"c{number % 3}"} if number % 4 else {}
            service.store(path, **customer)
        service.stop()
        for snapshot in service.data_dir.glob("index/*/manifest.json"):
            snapshot.unlink()
        service.start()  # built anew: its mean is that of all clips
        embeddings = [
            np.load(io.BytesIO(service.get(f"/clips/{i + 1}/embedding").content))
            for i in range(len(paths))
        ]
        yield service, paths, np.array(embeddings)


def similarities(
    embeddings: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Cosine after the mean is removed, shrunk toward the prior that ships with the model."""
    prior = np.load(BUNDLED / "prior_mean.npy")
    mean = shrunk_mean(embeddings.mean(axis=0), len(embeddings), prior).astype(np.float64)
    a, b = embeddings - mean, query - mean
    return (a @ b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b))


def test_similar_is_the_formula(library: Library) -> None:
    service, paths, embeddings = library
    for number in range(len(paths)):
        answer = service.get(f"/clips/{number + 1}/similar", k=100).json()
        SearchAnswer.model_validate(answer, extra="forbid")
        assert answer["clip_id"] == number + 1
        assert answer["model"] == "emoseek/bundled"
        assert answer["index"]["state"] == "ready"
        assert answer["index"]["pending"] == 0
        expected = similarities(embeddings, embeddings[number])
        order = [i for i in np.lexsort((np.arange(len(paths)), -expected)) if i != number]
        found = answer["neighbours"]
        assert sorted(near["clip_id"] for near in found) == sorted(i + 1 for i in order)
        for near in found:
            assert near["similarity"] == pytest.approx(expected[near["clip_id"] - 1], abs=1e-5)
        ranks = [(-near["similarity"], near["clip_id"]) for near in found]
        assert ranks == sorted(ranks)


def test_the_same_recording_is_nearest(library: Library) -> None:
    service, paths, _ = library
    first = service.get("/clips/1/similar", k=1).json()["neighbours"][0]
    assert first["clip_id"] == len(paths) - 1
    assert first["similarity"] == pytest.approx(1, abs=1e-6)


def test_k_and_min_similarity(library: Library) -> None:
    service, paths, _ = library
    whole = service.get("/clips/3/similar", k=100).json()["neighbours"]
    for k in (1, 2, len(paths) - 1):
        assert service.get("/clips/3/similar", k=k).json()["neighbours"] == whole[:k]
    limit = whole[2]["similarity"]
    above = service.get("/clips/3/similar", k=100, min_similarity=limit).json()["neighbours"]
    assert above == [near for near in whole if near["similarity"] >= limit]


def test_one_neighbour_a_customer(library: Library) -> None:
    service, _, _ = library
    whole = service.get("/clips/2/similar", k=100).json()["neighbours"]
    first: dict[object, dict[str, object]] = {}
    for near in whole:
        first.setdefault(near["customer_id"] or near["clip_id"], near)
    for k in (1, 2, 3, 4, 50):
        grouped = service.get("/clips/2/similar", k=k, group_by="customer_id").json()
        assert grouped["neighbours"] == list(first.values())[:k]


def test_by_audio_stores_nothing(library: Library) -> None:
    service, paths, _ = library
    before = service.get("/status").json()["database"], service.files()
    with paths[0].open("rb") as file:
        answer = requests.post(
            f"{service.url}/api/v1/search", params={"k": 3}, files={"audio_file": file}
        ).json()
    SearchAnswer.model_validate(answer, extra="forbid")
    assert answer["clip_id"] is None
    assert [near["clip_id"] for near in answer["neighbours"]][:2] == [1, len(paths) - 1]
    assert (service.get("/status").json()["database"], service.files()) == before


def test_by_vector(library: Library) -> None:
    service, paths, embeddings = library
    answer = requests.post(
        f"{service.url}/api/v1/search",
        params={"k": 100, "customer_id": "c1"},
        json={"vector": embeddings[3].tolist()},
    ).json()
    wanted = [i + 1 for i in range(len(paths)) if i % 4 and i % 3 == 1]
    assert sorted(near["clip_id"] for near in answer["neighbours"]) == wanted


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"vector": [1.0]}, "vector"),
        ({"vector": []}, "vector"),
        ({"vector": ["a"]}, "vector"),
        ({"vectors": [[1.0]]}, "vector"),
        ({}, "vector"),
        ([], "body"),
    ],
    ids=str,
)
def test_vectors_that_cannot_be(service: Service, body: object, parameter: str) -> None:
    answer = requests.post(f"{service.url}/api/v1/search", json=body)
    assert parameter in is_problem(answer, 422, "invalid-parameter")


def test_a_vector_beyond_float32(service: Service) -> None:
    dimension = service.get("/status").json()["model"]["dimension"]
    body = {"vector": [1e39] * dimension}
    answer = requests.post(f"{service.url}/api/v1/search", json=body)
    assert "vector" in is_problem(answer, 422, "invalid-parameter")


@pytest.mark.parametrize("content", [b"{", b'{"vector": [NaN]}', b"", b"\xff"])
def test_json_that_is_none(service: Service, content: bytes) -> None:
    answer = requests.post(f"{service.url}/api/v1/search", data=content)
    is_problem(answer, 422, "invalid-parameter")


def test_audio_that_cannot_be_searched_with(service: Service) -> None:
    url = f"{service.url}/api/v1/search"
    refused = requests.post(url, files={"audio_file": ("a.wav", b"text")})
    is_problem(refused, 415, "unsupported-audio")
    is_problem(requests.post(url, files={"audio_file": ("a.wav", b"")}), 400, "no-audio")
    split = requests.post(url, files={"audio_file": ("a.wav", pcm(1))}, data={"channel": "split"})
    assert "channel" in is_problem(split, 422, "invalid-parameter")
    is_problem(requests.post(url, files={"other": ("a.wav", pcm(1))}), 422, "invalid-parameter")
    filtered = requests.post(
        url, files={"audio_file": ("a.wav", pcm(1))}, data={"customer_id": "c1"}
    )
    assert "customer_id" in is_problem(filtered, 422, "invalid-parameter")


def test_grouping_nothing(service: Service) -> None:
    answer = requests.post(
        f"{service.url}/api/v1/search",
        params={"group_by": "customer_id", "customer_id": "nobody at all"},
        files={"audio_file": ("a", pcm(1))},
    )
    assert answer.json()["neighbours"] == []


def test_an_empty_library_has_no_neighbours(start: Callable[..., Service]) -> None:
    service = start()
    answer = requests.post(f"{service.url}/api/v1/search", files={"audio_file": ("a", pcm(1))})
    assert answer.json()["neighbours"] == []
    assert service.neighbours(service.post_bytes(pcm(1)).json()["clip_id"]) == []
