"""Times of many searches, and memory of processes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ask = Callable[[Any], Any]  # one client: a prepared request in, an answer not yet read out


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """How long the requests of one run took."""

    milliseconds: NDArray[np.float64]
    elapsed: float  # seconds of the whole run

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.milliseconds) / self.elapsed

    def percentile(self, q: float) -> float:
        return float(np.percentile(self.milliseconds, q))


def closed_loop(
    client: Callable[[], Ask], requests: Sequence[Any], *, clients: int, seconds: float
) -> Times:
    """Each client, a thread with a connection of its own, asks again as soon as it is answered."""
    asks = [client() for _ in range(clients)]
    for ask in asks:
        ask(requests[0])
    begun = time.perf_counter()

    def go_on(number: int) -> list[float]:
        took = []
        last = begun
        for turn in itertools.count(number * len(requests) // clients):
            asks[number](requests[turn % len(requests)])
            now = time.perf_counter()
            took.append((now - last) * 1000)
            last = now
            if now - begun >= seconds:
                return took
        raise AssertionError

    took = in_threads(go_on, clients)
    return Times(np.concatenate(took), time.perf_counter() - begun)


def open_loop(
    client: Callable[[], Ask], requests: Sequence[Any], *, clients: int, rate: float, seconds: float
) -> Times:
    """`rate` requests a second, whether or not the earlier ones are answered.

    A request's time runs from when it was due, so that waiting for a free client counts.
    """
    asks = [client() for _ in range(clients)]
    for ask in asks:
        ask(requests[0])
    turns = itertools.count()
    begun = time.perf_counter()

    def go_on(number: int) -> list[float]:
        took: list[float] = []
        while (turn := next(turns)) < rate * seconds:
            due = begun + turn / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            asks[number](requests[turn % len(requests)])
            took.append((time.perf_counter() - due) * 1000)
        return took

    took = in_threads(go_on, clients)
    return Times(np.concatenate(took), time.perf_counter() - begun)


def in_threads(work: Callable[[int], list[float]], count: int) -> list[list[float]]:
    """What `work` returned for 0 … count - 1, each in a thread; raises what one of them raised."""
    done: dict[int, list[float]] = {}
    failed: list[BaseException] = []

    def one(number: int) -> None:
        try:
            done[number] = work(number)
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [done[number] for number in range(count)]


class KeepAlive:
    """One HTTP/1.1 connection: a whole request in, the body of its answer out.

    Bare sockets take a tenth of the time of an HTTP library, which would be the servers' loss
    on a machine that they share with their clients.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __call__(self, request: bytes) -> bytes:
        """Raises RuntimeError for any answer but 200."""
        self._socket.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(received) < end + 4 + length:
            received += self._more()
        if head.split()[1] != b"200":
            raise RuntimeError(received[:500].decode(errors="replace"))
        return received[end + 4 :]

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        some = self._socket.recv(1 << 18)
        if not some:
            raise RuntimeError("the server hung up")
        return some


def get(path: str) -> bytes:
    """A GET request as KeepAlive sends it."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: Any) -> bytes:
    """A POST request with a JSON body as KeepAlive sends it."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """MB of one process or of a server's processes together."""

    anonymous: float  # RssAnon: what was allocated
    resident: float  # Rss: with mapped files and shared memory

    @classmethod
    def of(cls, processes: Sequence[int]) -> Self:
        """As the kernel has it; of several, shared pages are counted once (Pss)."""
        if len(processes) == 1:
            told = _kernel_fields(Path(f"/proc/{processes[0]}/status"))
            return cls(told["RssAnon"], told["VmRSS"])
        all_told = [_kernel_fields(Path(f"/proc/{one}/smaps_rollup")) for one in processes]
        return cls(sum(t["Pss_Anon"] for t in all_told), sum(t["Pss"] for t in all_told))


def _kernel_fields(path: Path) -> dict[str, float]:
    """Fields in kB (2^10 bytes) of a file of /proc, in MB (10^6 bytes)."""
    lines = (line for line in path.read_text().splitlines() if line.endswith("kB"))
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(value.split()[0]) * 1.024e-3 for name, value in pairs}


def descendants(process: int) -> list[int]:
    """A process and all that it has started, and they."""
    children = Path(f"/proc/{process}/task").glob("*/children")
    direct = [int(child) for file in children for child in file.read_text().split()]
    return [process, *(found for child in direct for found in descendants(child))]


def machine(bench: str = "bench_index") -> str:
    """The machine and the command, for the lines above a table."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        f"    python -m {' '.join([f'scripts.{bench}', *sys.argv[1:]])}\n\n"
        f"{model}, {os.cpu_count()} CPUs, {memory:.0f} GB, Python {version}, "
        f"load {os.getloadavg()[0]:.1f} at the start, {time.strftime('%d %B %Y')}"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
