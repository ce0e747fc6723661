"""`repeats`: one customer with one emotion in two recordings, among other pairs of that customer;
and the candidates of a million clips.

Speakers are the customers. A pair is of one speaker, in two sentences with one emotion, which it
ought to find, or with two emotions. Every pair of a half is ranked by similarity, and decided of
by the thresholds that the service has.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import secrets
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
from app.domain import LABELS, ClipFields, GivenScores
from app.library.imports import add_rows, begin
from app.library.neighbours import Neighbours
from app.library.repeats import AT_ONCE, KIND, Repeats
from app.settings import Settings
from app.store import duplicates
from app.store.imports import ImportedClip
from index.contract import Hits
from index.cosine import directions
from scripts.analysis_benchmark.classifier import hear
from scripts.bench_retrieval import SPEAKERS_A, SPEAKERS_B
from scripts.index_benchmark.dataset import Dataset
from scripts.index_benchmark.live import library, settle
from scripts.index_benchmark.measure import Memory
from scripts.index_benchmark.ours import built

BLOCK = 1000  # rows of an import
OTHERS = 16  # clips that are there before
BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CHECKED = 200  # clips whose candidates are compared with an exact search


def add_to(parts: Any) -> None:
    part = parts.add_parser("repeats", help="repeat complaints, and candidates of a million clips")
    part.add_argument("--models", nargs=2, type=Path, metavar=("MODEL_A", "MODEL_B"))
    part.add_argument("--emodb", type=Path, default=Path("../shared/data/emodb"))
    part.add_argument("--vectors", type=Path, metavar="DIR")
    part.add_argument("--library", type=Path, metavar="DIR", help="all that the service does")
    part.add_argument("--clips", type=int, default=100_000, help="of --library")
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
    if told.library:
        catching_up(told.library, told.clips)


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


def catching_up(vectors: Path, clips: int) -> None:
    """A library's repeats from nothing: customers of ten clips in the mean, over a year."""
    data = Dataset.at(vectors)
    clips = min(clips, len(data.base))
    rng = np.random.default_rng(0)
    customers = rng.integers(0, clips // 10, clips)
    scores = rng.dirichlet(np.full(len(LABELS), 0.2), clips)
    hours = rng.integers(0, 24 * 365, clips)
    rows = [
        ImportedClip(
            ClipFields(
                customer_id=f"customer {customers[row]}",
                recorded_at=BEGAN + dt.timedelta(hours=int(hours[row])),
            ),
            GivenScores(
                LABELS[int(scores[row].argmax())],
                float(scores[row].max()),
                tuple(scores[row].tolist()),
            ),
        )
        for row in range(clips)
    ]
    with library(data, OTHERS, None) as one:
        one.repeats.stop()  # its own are not measured
        key = secrets.token_hex(32)
        begin(one, key, None, rows=clips, dimension=data.base.shape[1], highest_id=None)
        for start in range(0, clips, BLOCK):
            block = np.asarray(data.base[start : min(start + BLOCK, clips)])
            add_rows(one, key, None, start, block, rows[start : start + BLOCK], None)
        settle(one)
        measured = Repeats(one.settings, one.store, one.roles, one.duplicate_groups)
        began = time.monotonic()
        measured.catch_up()
        seconds = time.monotonic() - began
        measured.close()
        with one.store.read() as session:
            found = len(duplicates.all_pairs(session, [KIND]))
        kind = one.index.kind
    print(f"{clips} clips, {kind}: {found} pairs, {seconds:.0f} s, {clips / seconds:.0f} clips/s")


def _others(hits: Hits, clip_id: int) -> NDArray[np.int64]:
    others: NDArray[np.int64] = hits.ids[hits.ids != clip_id][:NEIGHBOURS]
    return others
