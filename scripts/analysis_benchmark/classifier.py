"""`classifier`: "angry or not" learnt from 200 labelled clips, beside the model's own angry score.

No speaker that is measured has a labelled clip, and the model has heard none of those measured.
The labelled clips are drawn

- "unheard": from the other four speakers of the model's unheard half, for each speaker of it: what
  a user's own calls are. A half has 243 or 292 clips, so that 200 are nearly all there are.
- "heard": from the five speakers that the model was trained on, to be measured on the unheard half.

Speakers are the customers. Each figure is of all clips of an unheard half together, where
"unheard" puts five classifiers' probabilities into one ranking; the mean, least and largest of
the draws.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from app.analysis.classifier_training import Trained, train
from app.audio import decode
from app.domain import LABELS
from app.recogniser import load
from app.settings import Settings
from scripts.bench_retrieval import SPEAKERS_A, SPEAKERS_B

LABELLED = 200
ANGRY = LABELS.index("angry")
NAMES = ("ROC AUC", "average precision", "balanced accuracy", "Brier score")

Floats = NDArray[np.float64]


class Heard(NamedTuple):
    """All clips as one model hears them; every column is (n,) but the embeddings, (n, D)."""

    embeddings: NDArray[np.float32]
    scores: NDArray[np.float32]  # angry
    says_angry: NDArray[np.bool_]  # more than any other emotion
    angry: NDArray[np.bool_]  # as acted
    speakers: NDArray[np.str_]


def add_to(parts: Any) -> None:
    """Adds the subcommand to a parser's."""
    parser = parts.add_parser("classifier", help="angry or not, from 200 labelled clips")
    parser.add_argument("model_a", type=Path, help=f"never heard {', '.join(SPEAKERS_A)}")
    parser.add_argument("model_b", type=Path, help=f"never heard {', '.join(SPEAKERS_B)}")
    parser.add_argument("--emodb", type=Path, default=Path("../shared/data/emodb"))
    parser.add_argument("--draws", type=int, default=5, help="of labelled clips")
    parser.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    for model, unheard in ((told.model_a, SPEAKERS_A), (told.model_b, SPEAKERS_B)):
        heard = hear(model, told.emodb)
        measured = np.isin(heard.speakers, unheard)
        truth = heard.angry[measured]
        print(
            f"\nmeasured speakers {' '.join(unheard)}: {measured.sum()} clips, "
            f"{truth.mean():.3f} angry"
        )
        print(f"{'':34}" + "  ".join(f"{name:>23}" for name in NAMES))
        show("the model's angry score", [own(heard, measured)])
        for name, draw in (("unheard", from_unheard), ("heard", from_heard)):
            drawn = [draw(heard, measured, seed) for seed in range(told.draws)]
            show(f"classifier, labels of {name}", [figures for figures, _ in drawn])
            cross_validated = np.mean([area for _, area in drawn])
            print(f"{'':34}it told a cross-validated ROC AUC of {cross_validated:.3f}")


def hear(model: Path, emodb: Path) -> Heard:
    """All clips of EmoDB by the model in a directory."""
    with (emodb / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    recogniser = load(Settings(model=str(model)), None).recogniser
    embeddings, scores = [], []
    for row in rows:
        with (emodb / row["file"]).open("rb") as audio:
            recognised = recogniser.recognise(decode(audio, max_seconds=30).waveforms[0])
        embeddings.append(recognised.embedding)
        scores.append(recognised.scores)
    by_label = np.stack(scores)
    return Heard(
        np.stack(embeddings),
        by_label[:, ANGRY],
        by_label.argmax(axis=1) == ANGRY,
        np.array([row["label"] == "angry" for row in rows]),
        np.array([row["speaker"] for row in rows]),
    )


def own(heard: Heard, measured: NDArray[np.bool_]) -> Floats:
    """Of the model's own score; it decides for its most probable emotion."""
    return figures(heard.angry[measured], heard.scores[measured], heard.says_angry[measured])


def from_unheard(heard: Heard, measured: NDArray[np.bool_], seed: int) -> tuple[Floats, float]:
    """The figures of classifiers of each speaker's four neighbours, and the mean ROC AUC that
    they told of themselves."""
    probabilities, told = np.full(len(measured), np.nan), []
    for speaker in np.unique(heard.speakers[measured]):
        asked = heard.speakers == speaker
        trained = labelled(heard, measured & ~asked, seed)
        probabilities[asked] = trained.classifier.probabilities(heard.embeddings[asked])[:, 0]
        told.append(trained.quality.roc_auc.value)
    found = probabilities[measured]
    return figures(heard.angry[measured], found, found > 0.5), float(np.mean(told))


def from_heard(heard: Heard, measured: NDArray[np.bool_], seed: int) -> tuple[Floats, float]:
    """The same of one classifier of speakers that the model has heard."""
    trained = labelled(heard, ~measured, seed)
    found = trained.classifier.probabilities(heard.embeddings[measured])[:, 0]
    return figures(heard.angry[measured], found, found > 0.5), trained.quality.roc_auc.value


def labelled(heard: Heard, among: NDArray[np.bool_], seed: int) -> Trained:
    """A classifier of LABELLED clips drawn among some, or of all where they are fewer."""
    places = np.flatnonzero(among)
    drawn = np.random.default_rng(seed).permutation(places)[:LABELLED]
    return train(
        heard.embeddings[drawn],
        ["angry" if angry else "not" for angry in heard.angry[drawn]],
        heard.speakers[drawn].tolist(),
    )


def figures(
    truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]], decided: NDArray[np.bool_]
) -> Floats:
    """(4,) in the order of NAMES."""
    return np.array(
        [
            roc_auc_score(truth, scores),
            average_precision_score(truth, scores),
            balanced_accuracy_score(truth, decided),
            brier_score_loss(truth, scores),
        ]
    )


def show(what: str, drawn: list[Floats]) -> None:
    found = np.array(drawn)
    columns = [
        f"{mean:.3f}" if len(drawn) == 1 else f"{mean:.3f} ({low:.3f} to {high:.3f})"
        for mean, low, high in zip(found.mean(0), found.min(0), found.max(0), strict=True)
    ]
    print(f"{what:34}" + "  ".join(f"{column:>23}" for column in columns))
