"""Many `GET similar` at once, which are answered together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from app.http.schemas import SearchAnswer
from tests.cli.test_cli import run
from tests.cli.test_import_vectors import write_csv, write_npy
from tests.http.test_errors import is_problem
from tests.service import Service

CLIPS = 400


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With CLIPS imported vectors of five customers."""
    with Service(tmp_path_factory.mktemp("together")) as service:
        path, said = service.directory / "vectors.npy", service.directory / "said.csv"
        write_npy(path, CLIPS)
        write_csv(said, ["customer_id"], [[f"c{row % 5}"] for row in range(CLIPS)])
        words = ("--meta", said, "--url", service.url)
        done = run("import-vectors", path, *words, cwd=service.directory)
        assert done.returncode == 0, done.stderr
        while not ask(service, 1, "k=1").json()["index"]["build"]:  # anew for so many clips
            time.sleep(0.05)
        yield service


def ask(service: Service, clip_id: int | str, query: str) -> requests.Response:
    return requests.get(f"{service.url}/api/v1/clips/{clip_id}/similar?{query}")


def test_each_gets_its_own_answer(service: Service) -> None:
    queries = ["", "k=3", "k=3&customer_id=c2", "min_similarity=0.1", "exact=true&k=5"]
    asked = [(1 + step * 7 % CLIPS, queries[step % len(queries)]) for step in range(300)]
    alone = {one: ask(service, *one).json() for one in sorted(set(asked))}
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda one: ask(service, *one), asked))
    for one, answer in zip(asked, answers, strict=True):
        assert answer.status_code == 200
        assert answer.json() == alone[one]
        told = SearchAnswer.model_validate_json(answer.content, extra="forbid")
        assert told.model_fields_set == set(SearchAnswer.model_fields)
        assert told.clip_id == one[0]


def test_one_that_fails_fails_alone(service: Service) -> None:
    ask(service, 1, "k=2")
    wanted = [1, CLIPS + 1, 2, 2**63 - 1] * 25
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda clip_id: ask(service, clip_id, "k=2"), wanted))
    for clip_id, answer in zip(wanted, answers, strict=True):
        if clip_id <= CLIPS:
            assert [answer.status_code, len(answer.json()["neighbours"])] == [200, 2]
        else:
            is_problem(answer, 404, "not-found")


@pytest.mark.parametrize("clip_id", ["0", "9223372036854775808", "٣", "x", "1.0"])
def test_what_is_no_id_is_refused_whether_the_query_was_read_before_or_not(
    service: Service, clip_id: str
) -> None:
    for _ in range(2):
        is_problem(ask(service, clip_id, ""), 422, "invalid-parameter")
        assert ask(service, 1, "").status_code == 200


def test_a_query_that_is_refused_is_refused_again(service: Service) -> None:
    for query in ("k=0", "emotoin=sad", "k=1&k=2", "customer_id=%00"):
        for _ in range(3):
            is_problem(ask(service, 1, query), 422, "invalid-parameter")


def test_more_queries_than_are_remembered(service: Service) -> None:
    thresholds = [f"min_similarity=-0.{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as clients:
        for _ in range(2):
            answers = clients.map(lambda query: ask(service, 5, query).status_code, thresholds)
            assert set(answers) == {200}


def test_changes_and_deletions_show_at_once(service: Service) -> None:
    def told() -> dict[int, dict[str, Any]]:
        neighbours = ask(service, 9, "k=20").json()["neighbours"]
        return {near["clip_id"]: near for near in neighbours}

    stop = threading.Event()

    def go_on_asking() -> None:
        while not stop.is_set():
            assert ask(service, 9, "k=20").status_code == 200

    near = list(told())
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(go_on_asking) for _ in range(4)]
        try:
            for number, clip_id in enumerate(near):
                changed = {"agent_id": f"a{number}", "tags": ["x", "b"]}
                assert requests.patch(f"{service.url}/api/v1/clips/{clip_id}", json=changed).ok
                now = told()[clip_id]
                assert (now["agent_id"], now["tags"]) == (f"a{number}", ["b", "x"])
            for clip_id in near[:5]:
                assert requests.delete(f"{service.url}/api/v1/clips/{clip_id}").ok
                assert clip_id not in told()
        finally:
            stop.set()
        for one in asking:
            one.result()


def test_the_key_is_asked_for(tmp_path: Path, audio: Path) -> None:
    with Service(tmp_path, EMOSEEK_API_KEY="secret-key") as service:
        clip_id = service.store(sorted(audio.glob("*_voice_*.flac"))[0])
        for _ in range(2):
            assert service.get(f"/clips/{clip_id}/similar").status_code == 200
            is_problem(ask(service, clip_id, ""), 401, "unauthorised")
