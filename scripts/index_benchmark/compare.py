"""All engines on the same vectors, each in a process of its own."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from scripts.index_benchmark.chroma import Chroma
from scripts.index_benchmark.dataset import Dataset, recall
from scripts.index_benchmark.engines import Engine
from scripts.index_benchmark.libraries import Faiss, Hnswlib, Usearch
from scripts.index_benchmark.measure import Memory, closed_loop, machine, table
from scripts.index_benchmark.milvus import MilvusLite
from scripts.index_benchmark.ours import Ours, OursOverHttp
from scripts.index_benchmark.pgvector import Pgvector

RECALL = 0.99  # that a setting must reach
CLIENTS = 16
COLUMNS = ["engine", "settings", "build", "RssAnon", "Rss", "QPS, 1 client", f"QPS, {CLIENTS}"]
COLUMNS += ["p50", "p99", f"p99, {CLIENTS}", "recall@10"]


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What the measuring of one engine is told."""

    vectors: Path
    seconds: float  # of each run
    data: Path  # of the service
    model: str | None


ENGINES: dict[str, tuple[str, Callable[[Options], Engine]]] = {
    # name: the package whose version is told, and the engine
    "emoseek": ("faiss-cpu", lambda _: Ours()),
    "hnswlib": ("hnswlib", lambda _: Hnswlib()),
    "usearch": ("usearch", lambda _: Usearch()),
    "faiss-hnsw": ("faiss-cpu", lambda _: Faiss("HNSW32,SQ8")),
    "faiss-ivf": ("faiss-cpu", lambda _: Faiss("IVF{lists},SQ8")),
    "emoseek-http": ("faiss-cpu", lambda told: OursOverHttp(told.data, told.model)),
    "chroma": ("chromadb", lambda _: Chroma()),
    "milvus-lite": ("milvus-lite", lambda _: MilvusLite("HNSW")),
    "milvus-lite-sq": ("milvus-lite", lambda _: MilvusLite("HNSW_SQ")),
    "pgvector": ("pgserver", lambda _: Pgvector()),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table."""

    settings: str
    build: float  # seconds
    anonymous: float  # MB
    resident: float  # MB
    rate: float  # requests a second, one client
    rate_of_many: float
    p50: float  # ms, one client
    p99: float
    p99_of_many: float
    recall: float

    def cells(self) -> list[str]:
        short = "" if self.recall >= RECALL else " (too low)"
        return [
            self.settings,
            f"{self.build:.1f} s",
            f"{self.anonymous:,.0f} MB",
            f"{self.resident:,.0f} MB",
            f"{self.rate:,.0f}",
            f"{self.rate_of_many:,.0f}",
            f"{self.p50:.2f} ms",
            f"{self.p99:.2f} ms",
            f"{self.p99_of_many:.2f} ms",
            f"{self.recall:.4f}{short}",
        ]


def compare(names: list[str], told: Options) -> None:
    """Print the table; what cannot be measured is named below it with the reason."""
    print(machine() + "\n", flush=True)
    Dataset.at(told.vectors)
    rows, failures = [], []
    for name in names:
        print(f"measuring {name}", file=sys.stderr)
        outcome = _apart(name, told)
        if isinstance(outcome, Measured):
            rows.append([f"{name} ({version(name)})", *outcome.cells()])
            print(" | ".join(rows[-1]), file=sys.stderr)
        else:
            failures.append(f"{name} could not be measured: {outcome}")
            print(failures[-1], file=sys.stderr)
    print(table(COLUMNS, rows))
    for failure in failures:
        print(f"\n{failure}")


def version(name: str) -> str:
    """Of the package behind an engine."""
    package = ENGINES[name][0]
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _apart(name: str, told: Options) -> Measured | str:
    """Measure in a child process; the reason when that fails."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        command = [sys.executable, "-m", "scripts.bench_index", "engine", name, file.name]
        command += ["--vectors", str(told.vectors), "--seconds", str(told.seconds)]
        command += ["--data", str(told.data), *(["--model", told.model] if told.model else [])]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode:
            return file.read().strip() or f"its process ended with status {done.returncode}"
        return Measured(**json.load(file))


def measure_here(name: str, answer: Path, told: Options) -> None:
    """Measure an engine in this process and write a Measured as JSON, or why it failed."""
    try:
        measured = _measure(ENGINES[name][1](told), told.vectors, told.seconds)
        answer.write_text(json.dumps(dataclasses.asdict(measured)))
    except (Exception, SystemExit) as exc:  # what an engine exits with names its reason
        traceback.print_exc()
        answer.write_text(f"{type(exc).__name__}: {exc}".splitlines()[0][:300])
        sys.exit(1)


def _measure(engine: Engine, vectors: Path, seconds: float) -> Measured:
    data = Dataset.at(vectors)
    build = engine.build(data)
    del data  # its mapping counts as memory of this process
    try:
        for setting in engine.settings:
            engine.use(setting)
            requests, truth = engine.questions()
            ask = engine.client()
            found = recall([engine.rows(ask(request)) for request in requests], truth)
            if found >= RECALL:
                break
        alone = closed_loop(engine.client, requests, clients=1, seconds=seconds)
        many = closed_loop(engine.client, requests, clients=CLIENTS, seconds=seconds)
        give_back_memory()
        memory = Memory.of(engine.processes())
        return Measured(
            engine.chosen(),
            build,
            memory.anonymous,
            memory.resident,
            alone.rate,
            many.rate,
            alone.percentile(50),
            alone.percentile(99),
            many.percentile(99),
            found,
        )
    finally:
        engine.close()


def give_back_memory() -> None:
    """What this process freed, to the kernel: it holds none of the index."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
