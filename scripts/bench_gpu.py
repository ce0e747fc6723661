"""Searches of one and of many vectors on a GPU, beside the same index without it.

    python -m scripts.bench_gpu --vectors DIR --n 1000000 --bandwidth 4800
    python -m scripts.bench_gpu --vectors DIR10 --n 10000000 --bandwidth 4800

DIR holds one set of vectors; `shared/bench/make_vectors.py` makes `--n` of them there when there
are none. 10,000,000 of 1024 dimensions take 41 GB there and as much again where temporary files
are, while the index over them stands. `--bandwidth` is that of the GPU's memory, in GB/s as its
maker tells it. The extra `gpu` must be installed. "GPU alone" is the time until the candidates are
back; the rest is the ranking by full vectors. A search in flat form reads all rows once, or more
often when the batch is large: the share of the bandwidth counts once.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from index.contract import Hits, Vectors
from index.cosine import directions
from index.gpu import Device, find_gpu
from index.gpu_replica import SPARE, GpuReplica
from index.graph_index import GraphIndex
from scripts.index_benchmark.dataset import GENERATOR, Dataset, K
from scripts.index_benchmark.measure import table
from scripts.index_benchmark.ours import built

BATCHES = (1, 32, 1024)
COMPARED = 200  # queries that are searched for exactly too
REMOVED = 0.05


def main(words: Sequence[str] | None = None) -> None:
    told = _parser().parse_args(words)
    gpu = find_gpu(told.device)
    if gpu is None:
        raise SystemExit(
            "FAISS sees no such GPU. This wants one, its driver, and "
            "`pip install -c constraints.txt -e '.[gpu]'` in place of the extra cpu."
        )
    data = Dataset.at(told.vectors, told.n, told.generator)
    print(f"{len(data.base)} vectors, {os.cpu_count()} CPUs, {time.strftime('%d %B %Y')}\n")
    master = built(data.base)
    if not isinstance(master, GraphIndex):
        raise SystemExit("So few vectors are not copied to a GPU.")
    print(measure(master, gpu, data.queries, told.seconds, told.bandwidth))


def measure(
    master: GraphIndex, device: Device, queries: Vectors, seconds: float, bandwidth: float
) -> str:
    """Speed by size of batch as a table, and how right the answers are. Removes some rows.

    Raises:
        RuntimeError: memory is short.
    """
    begun = time.perf_counter()
    replica = GpuReplica.make(master, device, threading.Event())
    lines = [
        f"Copied ({replica.kind}) in {time.perf_counter() - begun:.1f} s; "
        f"used from {replica.least} queries on.\n"
    ]
    replica.least = 1
    rows = []
    for size in BATCHES:
        batch = np.resize(queries, (size, queries.shape[1]))
        asked = directions(batch, master.mean)
        alone = size * _rate(partial(replica.candidates, asked, K + SPARE), seconds)
        whole = size * _rate(partial(replica.search, asked, K), seconds)
        without = size * _rate(partial(master.search_directions, asked, K), seconds)
        read = alone / size * 2 * master.dimension * len(master) / 1e9  # GB/s
        share = f"{100 * read / bandwidth:.0f} %" if replica.kind == "flat" else "–"
        rows.append([str(size), f"{alone:.0f}", share, f"{whole:.0f}", f"{without:.0f}"])
    lines.append(table(["queries a call", "GPU alone/s", "bandwidth", "GPU/s", "CPU/s"], rows))
    lines.append("\n" + _agreement(master, replica, queries))
    ids = master.ids()
    master.remove(np.random.default_rng(0).choice(ids, int(REMOVED * len(ids)), replace=False))
    lines.append(f"After {REMOVED:.0%} were removed: {_agreement(master, replica, queries)}")
    replica.close()
    return "\n".join(lines)


def _rate(call: Callable[[], object], seconds: float) -> float:
    """Calls a second, one after the other, after one that does not count."""
    call()
    begun, calls = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        call()
        calls += 1
    return calls / (time.perf_counter() - begun)


def _agreement(master: GraphIndex, replica: GpuReplica, queries: Vectors) -> str:
    """Shares of the exact K nearest that both find; removed rows and wrong similarities."""
    some = directions(queries[:COMPARED], master.mean)
    exact = master.search_directions(some, K, exact=True)
    found = replica.search(some, K)
    if found is None:
        return "the GPU leaves it to the CPU"
    without = _recall(master.search_directions(some, K), exact)
    wrong = sum(_differences(one, other) for one, other in zip(found, exact, strict=True))
    return (
        f"recall@{K} {_recall(found, exact):.4f} with the GPU, "
        f"{without:.4f} without; {wrong} similarities differ"
    )


def _recall(found: list[Hits], exact: list[Hits]) -> float:
    right = [len(np.intersect1d(f.ids, e.ids)) for f, e in zip(found, exact, strict=True)]
    return sum(right) / sum(len(e.ids) for e in exact)


def _differences(found: Hits, exact: Hits) -> int:
    true = dict(zip(exact.ids.tolist(), exact.similarities.tolist(), strict=True))
    pairs = zip(found.ids.tolist(), found.similarities.tolist(), strict=True)
    return sum(true.get(one, similarity) != similarity for one, similarity in pairs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, required=True, metavar="DIR")
    parser.add_argument("--n", type=int, help="vectors to make, or that must be there")
    parser.add_argument("--bandwidth", type=float, required=True, help="of its memory, GB/s")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--generator", type=Path, default=GENERATOR, help="make_vectors.py")
    return parser


if __name__ == "__main__":
    main()
