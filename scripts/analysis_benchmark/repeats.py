"""`repeats`: one customer with one emotion in two recordings, among other pairs of that customer;
and the candidates of a million clips.

Speakers are the customers. A pair is of one speaker, in two sentences with one emotion, which it
ought to find, or with two emotions. Every pair of a half is ranked by similarity, and decided of
by the thresholds that the service has.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from app.analysis.repeats import (
    NEIGHBOURS,
    Thresholds,
    are_repeats,
    emotion_agreement,
    locality,
)
from app.library.repeats import AT_ONCE, Neighbours
from app.settings import Settings
from index.contract import Hits
from index.cosine import directions
from scripts.analysis_benchmark.classifier import hear
from scripts.bench_retrieval import SPEAKERS_A, SPEAKERS_B
from scripts.index_benchmark.measure import Memory
from scripts.index_benchmark.ours import built

CHECKED = 200  # clips whose candidates are compared with an exact search


def add_to(parts: Any) -> None:
    part = parts.add_parser("repeats", help="repeat complaints, and candidates of a million clips")
    part.add_argument("--models", nargs=2, type=Path, metavar=("MODEL_A", "MODEL_B"))
    part.add_argument("--emodb", type=Path, default=Path("../shared/data/emodb"))
    part.add_argument("--vectors", type=Path, metavar="DIR")
    part.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    if told.models:
        print(
            "| speakers | pairs of one | of one emotion | average precision | times the share "
            "| decided: precision | recall | voices alike: pairs | of one speaker | by chance |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for model, speakers in zip(told.models, (SPEAKERS_A, SPEAKERS_B), strict=True):
            agreement(model, told.emodb, speakers)
    if told.vectors:
        candidates(np.load(told.vectors / "base.npy", mmap_mode="r"))


def agreement(model: Path, emodb: Path, speakers: tuple[str, ...]) -> None:
    heard = hear(model, emodb)
    measured = np.isin(heard.speakers, speakers)
    embeddings, scores = heard.embeddings[measured], heard.by_label[measured].astype(np.float64)
    speaker, emotion, sentence = (
        its[measured] for its in (heard.speakers, heard.emotions, heard.sentences)
    )
    asked = directions(embeddings, embeddings.mean(axis=0)).astype(np.float64)
    similarity = asked @ asked.T
    others = np.sort(similarity - 9 * np.eye(len(asked)), axis=1)[:, ::-1]
    local = np.stack([locality(row[:NEIGHBOURS]) for row in others])
    agreements = np.stack([emotion_agreement(one, scores) for one in scores])
    settings = Settings()
    thresholds = Thresholds(settings.repeat_nearness, settings.repeat_emotion)
    i, j = np.triu_indices(len(asked), 1)

    def decided(same_customer: bool, pairs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = [
            are_repeats(
                similarity[a, b][None],
                agreements[a, b][None],
                np.array([same_customer]),
                local[a],
                local[b][None],
                thresholds,
            )[0]
            for a, b in zip(i[pairs], j[pairs], strict=True)
        ]
        return np.array(found)

    same = speaker[i] == speaker[j]
    alike = emotion[i] == emotion[j]
    pairs = same & ~(alike & (sentence[i] == sentence[j]))
    truth = alike[pairs]
    precision = average_precision_score(truth, similarity[i, j][pairs])
    repeats = decided(True, pairs)
    strangers = decided(False, np.ones(len(i), np.bool_))
    print(
        f"| {' '.join(speakers)} | {pairs.sum()} | {truth.mean():.3f} | {precision:.3f} "
        f"| {precision / truth.mean():.2f} | {truth[repeats].mean():.3f} "
        f"| {repeats[truth].mean():.3f} | {strangers.sum()} | {same[strangers].mean():.3f} "
        f"| {same.mean():.3f} |",
        flush=True,
    )


def candidates(vectors: NDArray[np.float32]) -> None:
    """The nearest of every clip, as many at once as the service asks for."""
    index, neighbours = built(vectors), Neighbours()
    before, most = Memory.of([os.getpid()]), 0.0
    began, nearest = time.monotonic(), np.zeros((len(vectors), NEIGHBOURS), np.int64)
    for start in range(0, len(vectors), AT_ONCE):
        ids = np.arange(start + 1, min(start + AT_ONCE, len(vectors)) + 1)
        _, asked = index.directions_of(ids)
        for clip_id, hits in zip(
            ids.tolist(), neighbours(index.search_directions, asked), strict=True
        ):
            nearest[clip_id - 1] = _others(hits, clip_id)
        if start % (AT_ONCE * 100) == 0:
            most = max(most, Memory.of([os.getpid()]).anonymous - before.anonymous)
    seconds = time.monotonic() - began
    some = np.sort(np.random.default_rng(0).choice(len(vectors), CHECKED, replace=False)) + 1
    _, asked = index.directions_of(some)
    exact = index.search_directions(asked, NEIGHBOURS + 1, exact=True)
    recalled = [
        np.isin(nearest[clip_id - 1], _others(hits, clip_id)).mean()
        for clip_id, hits in zip(some.tolist(), exact, strict=True)
    ]
    print(
        f"{len(vectors)} clips, {index.kind}: the {NEIGHBOURS} nearest of each in {seconds:.0f} s, "
        f"recall {np.mean(recalled):.4f} of {CHECKED} clips, {most:,.0f} MB above the index"
    )


def _others(hits: Hits, clip_id: int) -> NDArray[np.int64]:
    others: NDArray[np.int64] = hits.ids[hits.ids != clip_id][:NEIGHBOURS]
    return others
