"""Similar clips over HTTP, against the formula on the embeddings that the service gives out."""

from __future__ import annotations

import io
import sqlite3
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


def search(service: Service, body: object, **params: object) -> requests.Response:
    return requests.post(f"{service.url}/api/v1/search", params=params, json=body)


def library_mean(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shrunk toward the prior that ships with the model."""
    prior = np.load(BUNDLED / "prior_mean.npy")
    return shrunk_mean(embeddings.mean(axis=0), len(embeddings), prior).astype(np.float64)


def similarities(
    embeddings: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Cosine after the mean is removed."""
    mean = library_mean(embeddings)
    a, b = embeddings - mean, query - mean
    return (a @ b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b))


def test_similar_is_the_formula(library: Library) -> None:
    service, paths, embeddings = library
    told = service.get("/status").json()["index"]
    assert (told["backend"], told["kind"]) == ("faiss-cpu", "flat")
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


def test_by_vectors(library: Library) -> None:
    service, _, embeddings = library
    params = {"k": 4, "customer_id": ["c1"]}
    body = {"vectors": embeddings[:3].tolist()}
    answers = search(service, body, **params).json()
    for vector, answer in zip(body["vectors"], answers, strict=True):
        SearchAnswer.model_validate(answer, extra="forbid")
        assert answer == search(service, {"vector": vector}, **params).json()
    assert len({near["clip_id"] for answer in answers for near in answer["neighbours"][:1]}) > 1


def test_exact_is_the_same_where_every_search_is(library: Library) -> None:
    service, _, _ = library
    exact = service.get("/clips/2/similar", k=5, exact="true").json()
    assert exact == service.get("/clips/2/similar", k=5).json()


def test_one_positive_example_is_that_clip(library: Library) -> None:
    service, _, _ = library
    found = search(service, {"positive": [3]}, k=100).json()
    SearchAnswer.model_validate(found, extra="forbid")
    similar = service.get("/clips/3/similar", k=100).json()
    assert found["clip_id"] is None
    assert [near["clip_id"] for near in found["neighbours"]] == service.neighbours(3, k=100)
    for near, same in zip(found["neighbours"], similar["neighbours"], strict=True):
        assert near["similarity"] == pytest.approx(same["similarity"], abs=1e-6)


@pytest.mark.parametrize("negative", [[], [5], [5, 8]], ids=str)
def test_examples_are_the_formula(library: Library, negative: list[int]) -> None:
    service, paths, embeddings = library
    mean = library_mean(embeddings)
    centred = embeddings.astype(np.float64) - mean
    units = centred / np.linalg.norm(centred, axis=1)[:, None]
    query = units[[0, 3]].mean(axis=0)
    if negative:
        query -= 0.5 * units[np.array(negative) - 1].mean(axis=0)
    expected = units @ query / np.linalg.norm(query)
    found = search(service, {"positive": [1, 4], "negative": negative}, k=100).json()["neighbours"]
    wanted = set(range(1, len(paths) + 1)) - {1, 4, *negative}
    assert {near["clip_id"] for near in found} == wanted
    for near in found:
        assert near["similarity"] == pytest.approx(expected[near["clip_id"] - 1], abs=1e-5)
    ranks = [(-near["similarity"], near["clip_id"]) for near in found]
    assert ranks == sorted(ranks)
    for k in (1, 3):
        nearest = search(service, {"positive": [1, 4], "negative": negative}, k=k).json()
        assert nearest["neighbours"] == found[:k]


def test_examples_that_cannot_be(service: Service) -> None:
    some = service.post_bytes(pcm(1)).json()["clip_id"]
    unknown = 10**9
    for positive, negative in (([unknown], []), ([some], [unknown])):
        refused = search(service, {"positive": positive, "negative": negative})
        is_problem(refused, 404, "not-found")
    for body in (
        {"positive": [some, some]},
        {"positive": [some], "negative": [some]},
        {"positive": []},
        {"negative": [some]},
        {"positive": [0]},
        {"positive": [True]},
        {"positive": ["1"]},
        {"positive": list(range(1, 102))},
        {"positive": [some], "negative": list(range(1, 102))},
        {"positive": [some], "vector": [1.0]},
    ):
        is_problem(search(service, body), 422, "invalid-parameter")


def test_an_example_of_another_model(start: Callable[..., Service]) -> None:
    service = start()
    ids = [service.post_bytes(pcm(1 + n)).json()["clip_id"] for n in range(2)]
    service.stop()
    with sqlite3.connect(service.data_dir / "emoseek.db") as database:
        database.execute("DELETE FROM embeddings WHERE clip_id = ?", ids[:1])
    database.close()
    service.start()
    is_problem(search(service, {"positive": ids}), 409, "not-indexed")
    is_problem(search(service, {"positive": ids[1:], "negative": ids[:1]}), 409, "not-indexed")


def test_limits_of_vectors(service: Service) -> None:
    dimension = service.get("/status").json()["model"]["dimension"]
    vector = [1.0] * dimension
    assert len(search(service, {"vectors": [vector] * 100}, k=100).json()) == 100
    assert "k" in is_problem(
        search(service, {"vectors": [vector] * 100}, k=101), 422, "invalid-parameter"
    )
    for vectors in ([], [vector] * 101, [vector, vector[:-1]], vector):
        refused = search(service, {"vectors": vectors})
        assert "vector" in is_problem(refused, 422, "invalid-parameter")


def test_what_was_answered_shows_in_filters(start: Callable[..., Service]) -> None:
    """After every answer the filtered search agrees with it, also once restarted."""
    service = start()
    asked = service.post_bytes(pcm(1)).json()["clip_id"]
    other = service.post_bytes(pcm(2), customer_id="c", tags=["t"]).json()["clip_id"]
    url = f"{service.url}/api/v1/clips/{other}"
    assert service.neighbours(asked, customer_id="c", tag="t") == [other]
    assert requests.patch(url, json={"customer_id": "d", "metadata": {"a": 1}}).ok
    for _ in range(2):
        assert service.neighbours(asked, customer_id="c") == []
        assert service.neighbours(asked, **{"customer_id": "d", "meta.a": "1"}) == [other]
        service.stop()
        service.start()
    assert requests.delete(f"{service.url}/api/v1/clips/{other}").ok
    assert service.neighbours(asked, customer_id="d") == []


def test_grouping_finds_rare_customers_behind_a_frequent_one(start: Callable[..., Service]) -> None:
    service = start()
    same = pcm(1)
    asked = service.post_bytes(same, customer_id="many").json()["clip_id"]
    for _ in range(30):
        service.post_bytes(same, customer_id="many")
    rare = [
        service.post_bytes(pcm(2 + n), customer_id=name).json()["clip_id"]
        for n, name in enumerate(("a", "b", "c"))
    ]
    alone = service.post_bytes(pcm(6)).json()["clip_id"]
    found = service.neighbours(asked, k=5, group_by="customer_id")
    assert found[0] == asked + 1
    assert sorted(found[1:]) == sorted([*rare, alone])
    filtered = service.neighbours(asked, k=1, group_by="customer_id", customer_id="b")
    assert filtered == [rare[1]]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"vector": [1.0]}, "vector"),
        ({"vector": []}, "vector"),
        ({"vector": ["a"]}, "vector"),
        ({"vectors": [[1.0]]}, "vector"),
        ({"vector": [10**400]}, "vector"),
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
