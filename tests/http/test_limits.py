"""What is too long or too much is refused before it takes memory."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.http.test_errors import is_problem
from tests.service import Service


def answer_to(service: Service, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back on a new connection until the service closes it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):  # it hung up before all of it was sent
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(ConnectionError):
            while received := connection.recv(65_536):
                answer += received
        return answer


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /api/v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n",),
        (HEAD + b"X: y\r\n" * 20_000 + b"\r\n",),
        (HEAD + b"X: ", *[b"y" * 10_000] * 100),  # a header without an end
        (b"GET /" + b"y" * 10_000, *[b"y" * 10_000] * 100),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",),
        (CHUNKED + b"0\r\nX: ", *[b"y" * 10_000] * 100),
        (CHUNKED + b"0\r\n", *[b"X: y\r\n" * 2_000] * 50),
        (CHUNKED + b"5;x=", *[b"y" * 10_000] * 100),
    ],
    ids=[
        "one header",
        "many",
        "header without end",
        "target without end",
        "target",
        "trailer without end",
        "many trailers",
        "chunk without end",
    ],
)
def test_huge_heads_are_refused(service: Service, parts: tuple[bytes, ...]) -> None:
    answer = answer_to(service, *parts)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert requests.get(f"{service.url}/healthz").ok


def test_heads_within_the_limit_are_read(service: Service) -> None:
    large = HEAD + b"X: " + b"y" * 60_000 + b"\r\n"
    answer = answer_to(service, large, b"\r\n", large + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2


def test_a_head_in_small_pieces_is_counted_once(service: Service) -> None:
    rest = b"X: " + b"y" * 60_000 + b"\r\nConnection: close\r\n\r\n"
    pieces = [rest[start : start + 1_000] for start in range(0, len(rest), 1_000)]
    assert answer_to(service, HEAD, *pieces, pause=0.005).startswith(b"HTTP/1.1 200 ")


def test_a_body_of_many_errors_takes_little_memory(service: Service) -> None:
    """One error is told; each would take half a kilobyte."""
    rows = b"[" + b",".join([b"{}"] * 1_000_000) + b"]"
    before = most_memory(service)
    url = f"{service.url}/api/v1/search"
    for asked in (b'{"vector": %s}', b'{"vectors": %s}', b'{"vectors": [%s]}', b'{"positive": %s}'):
        is_problem(requests.post(url, data=asked % rows), 422, "invalid-parameter")
    key, vector = "0" * 64, np.zeros(192, np.float32).tobytes()
    url = f"{service.url}/api/v1/admin/imports/{key}"
    assert requests.put(url, json={"rows": 1, "dimension": 192}).ok
    files = {"vectors": vector, "rows": rows.replace(b"{}", b"0")}
    answer = requests.post(f"{url}/rows", params={"first": 0}, files=files)
    is_problem(answer, 422, "invalid-parameter")
    assert most_memory(service) - before < 300 << 20


def most_memory(service: Service) -> int:
    """Bytes that were resident at most so far."""
    assert service.process is not None
    [line] = re.findall(
        r"VmHWM:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text()
    )
    return int(line) << 10
