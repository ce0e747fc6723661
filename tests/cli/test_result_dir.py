"""Result directories as `emoseek import` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli.result_dir import find_results, read_embedding, read_result
from app.domain import LABELS
from app.errors import InvalidParameter

SCORES = [0.02, 0.02, 0.02, 0.853, 0.027, 0.02, 0.018, 0.01, 0.01]
TOLD: dict[str, Any] = {
    "success": True,
    "emotion": "happy",
    "confidence": 0.853,
    "scores": dict(zip(LABELS, SCORES, strict=True)),
    "granularity": "utterance",
}


def write_result(directory: Path, embedding: np.ndarray | None = None, **changes: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps(TOLD | changes))
    if embedding is not None:
        np.save(directory / "embedding.npy", embedding)
    return directory


def test_scores_are_as_they_are(tmp_path: Path) -> None:
    path = write_result(tmp_path / "a" / "outputs_1", np.arange(4, dtype=np.float32))
    assert find_results(tmp_path) == [path]
    assert find_results(path) == [path]
    read = read_result(path, "a/outputs_1")
    heard = read.told.given_scores()
    assert (heard.emotion, heard.confidence) == ("happy", 0.853)
    assert heard.scores == tuple(TOLD["scores"][label] for label in LABELS)
    assert (read.name, read.audio) == ("outputs_1", None)
    np.testing.assert_array_equal(read.embedding, [0, 1, 2, 3])  # type: ignore[arg-type]


def test_the_key_is_of_all_files(tmp_path: Path) -> None:
    def key(path: Path) -> str:
        return read_result(path, path.name).key

    first = write_result(tmp_path / "a")
    assert key(first) == key(write_result(tmp_path / "b"))
    keys = {key(first), key(write_result(tmp_path / "c", confidence=0.8))}
    keys.add(key(write_result(tmp_path / "d", np.ones(3, np.float32))))
    (first / "processed_audio.wav").write_bytes(b"x")
    keys.add(key(first))
    assert len(keys) == 4


def test_frames_become_their_mean(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).standard_normal((9000, 3)).astype(np.float32)
    np.save(tmp_path / "embedding.npy", frames)
    mean = read_embedding(tmp_path / "embedding.npy")
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"emotion": "cheerful"},
        {"confidence": 1.5},
        {"scores": {"happy": 1.0}},
        {"scores": dict.fromkeys(LABELS, 0.5)},
        {"scores": None},
    ],
)
def test_a_result_that_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match=r"result\.json"):
        read_result(write_result(tmp_path, **changes), "a")


def test_a_result_that_is_not_json(tmp_path: Path) -> None:
    (write_result(tmp_path) / "result.json").write_text('{"emotion": ')
    with pytest.raises(InvalidParameter, match=r"result\.json"):
        read_result(tmp_path, "a")


@pytest.mark.parametrize(
    "array",
    [np.array([{}]), np.ones((1, 1, 1)), np.ones(3, int), np.ones(0), np.array([np.nan, 1])],
    ids=["objects", "three axes", "whole numbers", "empty", "not finite"],
)
def test_an_embedding_that_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "embedding.npy", array, allow_pickle=True)
    with pytest.raises(InvalidParameter, match=r"embedding\.npy"):
        read_embedding(tmp_path / "embedding.npy")
