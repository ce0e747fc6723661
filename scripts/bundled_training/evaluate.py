"""Scores on speakers that were never heard, and the baseline to beat on the same folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.domain import LABELS
from scripts.bundled_training import acoustics
from scripts.bundled_training.corpus import Lesson

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What a classifier said of clips whose speakers it had not heard."""

    recall: float  # mean of the labels' recalls over all clips together (UAR)
    accuracy: float  # share of clips that are right (WA)
    by_label: dict[str, float]  # recall of each label
    by_speaker: dict[str, float]  # UAR of each fold, over the labels its speaker has
    confusion: list[list[int]]  # rows: the acted label, columns: the answer; LABELS' order


def unweighted_recall(truth: Labels, answers: Labels) -> float:
    """Mean over the labels present in `truth` of the share of their clips that are right."""
    return float(np.mean([np.mean(answers[truth == label] == label) for label in np.unique(truth)]))


def outcome(speakers: Sequence[str], truth: Labels, answers: Labels) -> Outcome:
    """Summarise the answers of all folds."""
    spoken = np.array(speakers)
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    return Outcome(
        recall=unweighted_recall(truth, answers),
        accuracy=float(np.mean(truth == answers)),
        by_label={LABELS[k]: float(np.mean(answers[truth == k] == k)) for k in np.unique(truth)},
        by_speaker={
            speaker: unweighted_recall(truth[spoken == speaker], answers[spoken == speaker])
            for speaker in sorted(set(speakers))
        },
        confusion=confusion.tolist(),
    )


def ridge(heard: Sequence[Lesson], features: NDArray[np.float32]) -> Outcome:
    """Ridge regression on (clips, features), leaving one speaker out."""
    speakers = np.array([lesson.speaker for lesson in heard])
    truth = np.array([lesson.label for lesson in heard], dtype=np.int64)
    answers = np.zeros_like(truth)
    for speaker in sorted(set(speakers)):
        unheard = speakers == speaker
        classifier = make_pipeline(
            StandardScaler(), RidgeClassifier(alpha=100.0, class_weight="balanced")
        )
        classifier.fit(features[~unheard], truth[~unheard])
        answers[unheard] = classifier.predict(features[unheard])
    return outcome(list(speakers), truth, answers)


def baselines(heard: Sequence[Lesson]) -> dict[str, Outcome]:
    """What needs no network: mean and deviation of each log-mel band, and all that it is taught."""
    recordings = [lesson.takes[0] for lesson in heard]
    spectra = [acoustics.baseline_features(acoustics.analyse(take.waveform)) for take in recordings]
    return {
        "log_mel_ridge": ridge(heard, np.stack(spectra)),
        "statistics_ridge": ridge(heard, np.stack([take.statistics for take in recordings])),
    }


def table(result: Outcome) -> str:
    """The outcome as Markdown: figures, folds, and the confusion matrix."""
    names = [LABELS[k] for k in range(len(LABELS)) if sum(result.confusion[k])]
    lines = [f"UAR {result.recall:.3f}, WA {result.accuracy:.3f}", ""]
    lines += ["| unheard speaker | " + " | ".join(result.by_speaker) + " | mean |"]
    lines += ["|---|" + "---|" * (len(result.by_speaker) + 1)]
    folds = [*result.by_speaker.values(), float(np.mean(list(result.by_speaker.values())))]
    lines += ["| UAR | " + " | ".join(f"{value:.2f}" for value in folds) + " |", ""]
    lines += [
        "| acted ↓ heard → | " + " | ".join(LABELS) + " | recall |",
        "|---|" + "---:|" * (len(LABELS) + 1),
    ]
    for name in names:
        row = result.confusion[LABELS.index(name)]
        lines += [f"| {name} | " + " | ".join(map(str, row)) + f" | {result.by_label[name]:.2f} |"]
    return "\n".join(lines)


def as_json(outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    """The outcomes by name as plain values."""
    return {"labels": list(LABELS)} | {name: asdict(found) for name, found in outcomes.items()}
