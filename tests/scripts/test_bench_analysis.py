"""The protocols of the benchmark of analysis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scripts.analysis_benchmark import classifier
from scripts.bench_retrieval import SPEAKERS_A, SPEAKERS_B

EACH = 60  # clips of a speaker


@pytest.fixture
def heard() -> classifier.Heard:
    random = np.random.default_rng(0)
    speakers = np.repeat([*SPEAKERS_A, *SPEAKERS_B], EACH)
    angry = random.random(len(speakers)) < 0.25
    embeddings = random.standard_normal((len(speakers), 4)).astype(np.float32)
    embeddings[angry] += 2
    scores = random.random(len(speakers)).astype(np.float32)
    return classifier.Heard(embeddings, scores, scores > 0.5, angry, speakers)


@pytest.mark.parametrize("name", ["from_unheard", "from_heard"])
def test_no_measured_speaker_is_labelled(
    heard: classifier.Heard, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    train, labelled = classifier.train, []

    def note(embeddings: Any, labels: Any, customers: list[str]) -> Any:
        labelled.append(customers)
        return train(embeddings, labels, customers)

    monkeypatch.setattr(classifier, "train", note)
    measured = np.isin(heard.speakers, SPEAKERS_A)
    figures, told = getattr(classifier, name)(heard, measured, 0)
    assert all(len(customers) == classifier.LABELLED for customers in labelled)
    seen = [set(customers) for customers in labelled]
    if name == "from_heard":
        assert seen == [set(SPEAKERS_B)]
    else:
        assert seen == [set(SPEAKERS_A) - {speaker} for speaker in sorted(SPEAKERS_A)]
    assert figures.shape == (len(classifier.NAMES),)
    assert figures[0] > 0.9
    assert told > 0.9
