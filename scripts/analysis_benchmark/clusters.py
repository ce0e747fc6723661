"""Clusters: do they follow emotions or voices, and what do a million clips take?"""

from __future__ import annotations

import argparse
import csv
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score

from app.analysis.facts import NONE, Facts
from app.analysis.grouping import SAMPLE, Algorithm, Asked, Grouping, chosen_rows
from app.analysis.process import GroupingProcess
from app.audio import decode
from app.domain import LABELS
from app.recogniser import load
from app.settings import Settings
from index.kmeans import kmeans, nearest_rows
from scripts.bench_retrieval import SPEAKERS_A, SPEAKERS_B

PAGE = 4096
YEAR = 365 * 86_400 * 1_000_000  # microseconds
ALGORITHMS: tuple[Algorithm, ...] = ("hdbscan", "kmeans")
SEED = 0

Vectors = NDArray[np.float32]


def add_to(parts: Any) -> None:
    part = parts.add_parser("clusters", help="agreement with emotions, and a million vectors")
    part.add_argument("--models", nargs=2, type=Path, metavar=("MODEL_A", "MODEL_B"))
    part.add_argument("--emodb", type=Path, default=Path("../shared/data/emodb"))
    part.add_argument("--vectors", type=Path, metavar="DIR")
    part.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    if told.models:
        agreement(told.models, told.emodb)
    if told.vectors:
        large(np.load(told.vectors / "base.npy", mmap_mode="r"))


def agreement(models: tuple[Path, Path], emodb: Path) -> None:
    """Adjusted mutual information with emotion and with speaker, outliers as one group."""
    with (emodb / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    print("| measured speakers | clips | clusters by | k | outliers | AMI emotion | AMI speaker |")
    print("|---|---|---|---|---|---|---|")
    for model, heard in zip(models, (SPEAKERS_A, SPEAKERS_B), strict=True):
        chosen = [row for row in rows if row["speaker"] in heard]
        vectors, scores = listen(model, [emodb / row["file"] for row in chosen])
        emotions = [row["label"] for row in chosen]
        speakers = [row["speaker"] for row in chosen]
        facts = facts_of(scores)
        found: dict[str, NDArray[Any]] = {
            algorithm: grouped(Asked(algorithm, None, SEED, YEAR), vectors, facts)[0].labels
            for algorithm in ALGORITHMS
        }
        found["kmeans, k = 7"] = grouped(Asked("kmeans", 7, SEED, YEAR), vectors, facts)[0].labels
        found["the model's emotion"] = scores.argmax(axis=1)
        for k in sorted({7, int(found["kmeans"].max()) + 1}):
            places, _ = nearest_rows(vectors, kmeans(vectors, k, SEED))
            found[f"kmeans of raw embeddings, k = {k}"] = places[:, 0]
        voiced = with_voices(vectors, speakers)
        asked = Asked("kmeans", 7, SEED, YEAR)
        found["kmeans, k = 7, voices added"] = grouped(asked, voiced, facts)[0].labels
        places, _ = nearest_rows(voiced, kmeans(voiced, 7, SEED))
        found["kmeans of raw embeddings, k = 7, voices added"] = places[:, 0]
        for name, labels in found.items():
            k, outliers = len(set(labels.tolist()) - {NONE}), float((labels == NONE).mean())
            print(
                f"| {' '.join(heard)} | {len(chosen)} | {name} | {k} | {outliers:.2f} "
                f"| {adjusted_mutual_info_score(emotions, labels):.3f} "
                f"| {adjusted_mutual_info_score(speakers, labels):.3f} |",
                flush=True,
            )


def with_voices(vectors: Vectors, speakers: list[str]) -> Vectors:
    """Embeddings (n, D) with a drawn one for each speaker added, as long as they are on average
    without their mean: those of a model that hears the voice as much as the emotion."""
    names, places = np.unique(speakers, return_inverse=True)
    drawn = np.random.default_rng(SEED).standard_normal((len(names), vectors.shape[1]))
    voiced: Vectors = (vectors + vectors.std(axis=0).mean() * drawn[places]).astype(np.float32)
    return voiced


def listen(model: Path, paths: list[Path]) -> tuple[Vectors, Vectors]:
    """Embeddings (n, D) and scores (n, 9) of recordings by the model in a directory."""
    recogniser = load(Settings(model=str(model)), None).recogniser
    heard = []
    for path in paths:
        with path.open("rb") as file:
            heard.append(recogniser.recognise(decode(file, max_seconds=30).waveforms[0]))
    return np.stack([one.embedding for one in heard]), np.stack([one.scores for one in heard])


def facts_of(scores: Vectors, customers: int = 20_000, agents: int = 200) -> Facts:
    """Of clips with these scores (n, 9), at times and of people that are drawn."""
    random = np.random.default_rng(SEED)
    return Facts(
        scores,
        scores.argmax(axis=1).astype(np.int8),
        scores.max(axis=1),
        random.integers(YEAR, size=len(scores)),
        random.integers(customers, size=len(scores)).astype(np.int32),
        random.integers(agents, size=len(scores)).astype(np.int32),
    )


def large(vectors: Vectors) -> None:
    """A grouping with names and map, fed page by page; scores are a random linear head's."""
    head = np.random.default_rng(SEED).standard_normal((vectors.shape[1], len(LABELS)))
    logits = np.concatenate([page @ head.astype(np.float32) for page in _pages(vectors)]) * 3
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    facts = facts_of((scores / scores.sum(axis=1, keepdims=True)).astype(np.float32))
    print(
        "| clips | clusters by | reading | clusters | profiles | map | in all | peak memory | k |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for algorithm in ALGORITHMS:
        found, times, peak = grouped(Asked(algorithm, None, SEED, YEAR), vectors, facts)
        seconds = " | ".join(f"{each:.0f} s" for each in (*times, sum(times)))
        print(
            f"| {len(vectors)} | {algorithm} | {seconds} | {peak / 2**30:.2f} GiB "
            f"| {len(found.names)} |",
            flush=True,
        )
        print(f"  {found.outliers} outliers, silhouette {found.silhouette}, {found.parameters}")
        print(f"  {', '.join(found.names)}")


def grouped(asked: Asked, vectors: Vectors, facts: Facts) -> tuple[Grouping, list[float], int]:
    """What is found, seconds of each step from reading on, and the process's most bytes."""
    moments = [time.monotonic()]
    rows = chosen_rows(len(vectors), SAMPLE, asked.seed)
    with GroupingProcess(asked, np.array(vectors[rows]), facts.scores[rows]) as process:
        memory = _Peak(process.pid)
        for start in range(0, len(vectors), PAGE):
            part = slice(start, start + PAGE)
            process.add(np.array(vectors[part]), facts.at(part))
        for step in process.steps():
            moments.append(time.monotonic())
            if isinstance(step, Grouping):
                peak = memory.end()
                return step, np.diff(moments).tolist(), peak
    raise AssertionError("steps end with the grouping")


def _pages(vectors: Vectors) -> Iterator[Vectors]:
    return (np.array(vectors[start : start + PAGE]) for start in range(0, len(vectors), PAGE))


class _Peak:
    """The most resident memory of a process, asked for while it lives."""

    def __init__(self, pid: int) -> None:
        self._path, self._bytes = Path(f"/proc/{pid}/status"), 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> int:
        self._ending.set()
        self._thread.join()
        return self._bytes

    def _watch(self) -> None:
        while not self._ending.wait(0.2):
            try:
                lines = self._path.read_text().splitlines()
            except FileNotFoundError:
                return
            for line in lines:
                if line.startswith("VmHWM:"):
                    self._bytes = max(self._bytes, int(line.split()[1]) * 1024)
