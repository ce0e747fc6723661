"""Requests that wait are heard together; whose client hangs up frees the place, stores nothing."""

from __future__ import annotations

import concurrent.futures
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.http.test_errors import is_problem, pcm
from tests.service import Service


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


class Held:
    """A service whose encoder waits from its first batch on, until it is released."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._hold = service.directory / "hold"
        self._hold.touch()

    def release(self) -> None:
        self._hold.unlink(missing_ok=True)

    def now(self, part: str) -> int:
        """A figure of the status's `batching`."""
        count: int = self.service.get("/status").json()["batching"][part]
        return count

    def requests(self) -> dict[str, Any]:
        figures: dict[str, Any] = self.service.get("/status").json()["requests"]
        return figures

    def occupy(self) -> socket.socket:
        """A client whose clip the encoder works on."""
        client = self.connect()
        wait_for((self.service.directory / "held").exists)
        return client

    def connect(self, path: str = "/emotion/recognize", key: str | None = None) -> socket.socket:
        """A client that has posted a clip of 0.3 s."""
        request = requests.Request(
            "POST",
            f"{self.service.url}/api/v1{path}",
            files={"audio_file": ("a.wav", pcm(0.3))},
            headers={"Idempotency-Key": key} if key else {},
        ).prepare()
        lines = [f"POST {request.path_url} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        client = socket.create_connection(("127.0.0.1", self.service.port))
        assert isinstance(request.body, bytes)
        client.sendall("\r\n".join([*lines, "", ""]).encode() + request.body)
        return client

    def stored(self) -> int:
        """Number of stored clips, whose files must be all that there are."""
        count: int = self.service.get("/clips/count").json()["count"]
        assert len(self.service.files()) == 3 * count
        return count


@pytest.fixture
def hold(start: Callable[..., Service]) -> Iterator[Callable[..., Held]]:
    started: list[Held] = []

    def start_one(**environment: str) -> Held:
        started.append(Held(start(EMOSEEK_TEST_KILL="encoder waits", **environment)))
        return started[-1]

    yield start_one
    for held in started:
        held.release()


def is_answered(client: socket.socket) -> None:
    with client:
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_what_waits_is_heard_together(hold: Callable[..., Held]) -> None:
    held = hold()
    batches, waveforms = held.now("batches"), held.now("waveforms")
    clients = [held.occupy(), *(held.connect() for _ in range(7))]
    wait_for(lambda: held.now("waiting") == 7)
    held.release()
    for client in clients:
        is_answered(client)
    assert (held.now("batches") - batches, held.now("waveforms") - waveforms) == (2, 8)
    assert held.stored() == 8


def test_a_hang_up_while_waiting_to_be_let_in(hold: Callable[..., Held]) -> None:
    held = hold(EMOSEEK_MAX_CONCURRENCY="1", EMOSEEK_QUEUE_LENGTH="1")
    first, gone = held.occupy(), held.connect()
    wait_for(lambda: held.now("queued") == 1)
    is_problem(held.service.post_bytes(pcm(0.3)), 429, "queue-full")
    gone.close()
    wait_for(lambda: held.now("queued") == 0)
    later = held.connect()
    wait_for(lambda: held.now("queued") == 1)
    held.release()
    is_answered(first)
    is_answered(later)
    assert held.stored() == 2
    figures = held.requests()
    assert (figures["total"], figures["succeeded"], figures["hung_up"]) == (4, 2, 1)
    assert figures["success_rate"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("path", ["/emotion/recognize", "/search"])
def test_a_hang_up_while_waiting_for_the_encoder(hold: Callable[..., Held], path: str) -> None:
    held = hold(EMOSEEK_MAX_CONCURRENCY="2", EMOSEEK_QUEUE_LENGTH="0")
    first, gone = held.occupy(), held.connect(path)
    wait_for(lambda: held.now("waiting") == 1)
    is_problem(held.service.post_bytes(pcm(0.3)), 429, "queue-full")
    gone.close()
    wait_for(lambda: (held.now("waiting"), held.now("inside")) == (0, 1))
    later = held.connect()
    wait_for(lambda: held.now("waiting") == 1)
    held.release()
    is_answered(first)
    is_answered(later)
    assert held.stored() == 2


def test_a_hang_up_while_being_heard(hold: Callable[..., Held]) -> None:
    held = hold()
    held.occupy().close()
    for _ in range(5):  # whoever answers these has seen the hang-up
        assert held.now("inside") == 1
    held.release()
    wait_for(lambda: held.now("inside") == 0)
    assert held.stored() == 0
    assert held.service.post_bytes(pcm(0.3)).ok
    assert held.stored() == 1


def test_a_stop_tells_those_who_wait_while_others_are_heard(hold: Callable[..., Held]) -> None:
    held = hold(EMOSEEK_MAX_CONCURRENCY="1", EMOSEEK_QUEUE_LENGTH="2")
    first, waiting = held.occupy(), [held.connect(), held.connect()]
    wait_for(lambda: held.now("queued") == 2)
    assert held.service.process is not None
    held.service.process.send_signal(signal.SIGTERM)
    for client in waiting:
        client.settimeout(20)  # the first is heard until it is released
        with client:
            assert client.recv(100).startswith(b"HTTP/1.1 503 ")
    held.release()
    is_answered(first)


def test_a_hang_up_frees_the_idempotency_key(hold: Callable[..., Held]) -> None:
    held = hold()
    first, gone = held.occupy(), held.connect(key="k")
    wait_for(lambda: held.now("waiting") == 1)
    gone.close()
    wait_for(lambda: held.now("inside") == 1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        another = pool.submit(held.service.post_bytes, pcm(0.4), key="k")
        wait_for(lambda: held.now("waiting") == 1)
        held.release()
        assert another.result().status_code == 200
    is_answered(first)
    assert held.stored() == 2
