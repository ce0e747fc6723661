"""`emoseek import`: result directories of another installation, in real files and services."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.cli.test_cli import run
from tests.cli.test_import_vectors import DIMENSION, free_port
from tests.cli.test_result_dir import TOLD, write_result
from tests.service import Service

RNG = np.random.default_rng(9)


def embedding(*shape: int) -> np.ndarray:
    return RNG.standard_normal((*shape, DIMENSION)).astype(np.float32)


@pytest.fixture
def results(tmp_path: Path, start: Callable[..., Service], audio: Path) -> Path:
    """Five directories of another installation that can be imported, and two that cannot."""
    made = tmp_path / "made"
    made.mkdir()
    other = Service(made)
    with other:
        for name in ("calm_voice_a.flac", "sad_voice_c.flac"):
            other.post(audio / name, extract_embedding="true")
        other.post(audio / "happy_voice_d.flac")  # has audio, and no embedding
    top = tmp_path / "other"
    shutil.copytree(other.outputs_dir, top / "outputs")
    write_result(top / "old" / "utterance", embedding())
    write_result(top / "old" / "frames", embedding(50))
    write_result(top / "old" / "scores", confidence=0.7)
    write_result(top / "bad" / "dimension", np.ones(7, np.float32))
    write_result(top / "bad" / "scores", scores={})
    (top / "no result").mkdir()
    return top


def check_imported(service: Service, results: Path, audio: Path) -> None:
    status = service.get("/status").json()
    assert status["database"]["clips"] == 6
    assert status["index"]["size"] == status["index"]["expected"] == 5
    clips = {
        clip["metadata"]["source_path"]: clip for clip in service.get("/clips").json()["clips"]
    }
    bare = clips["old/scores"]
    assert (bare["emotion"], bare["confidence"], bare["scores"]) == ("happy", 0.7, TOLD["scores"])
    assert (bare["indexed"], bare["has_audio"], bare["duration"]) == (False, False, None)
    assert clips["old/frames"]["indexed"]
    frames = np.load(results / "old" / "frames" / "embedding.npy")
    got = service.get(f"/clips/{clips['old/frames']['clip_id']}/embedding").content
    np.testing.assert_allclose(
        np.frombuffer(got[-4 * DIMENSION :], "<f4"), frames.mean(axis=0), atol=1e-6
    )
    heard = {path: clip for path, clip in clips.items() if path.startswith("outputs/")}
    for path, clip in heard.items():
        told = json.loads((results / path / "result.json").read_text())
        assert clip["emotion"] == told["emotion"]
        assert clip["scores"] == told["scores"]
        assert clip["duration"] == pytest.approx(told["duration"])
        assert service.get(f"/clips/{clip['clip_id']}/audio").ok
    # What was embedded anew is as if it had been posted.
    again = service.post(audio / "happy_voice_d.flac", extract_embedding="true").json()
    near = service.get(f"/clips/{again['clip_id']}/similar", k=1).json()["neighbours"][0]
    assert near["similarity"] > 0.999
    assert near["clip_id"] == again["duplicate_of"]


def test_where_a_service_runs_and_where_none_does(
    start: Callable[..., Service], results: Path, audio: Path
) -> None:
    service = start()
    arguments = ("import", results, "--url", service.url)
    done = run(*arguments, cwd=service.directory)
    assert done.returncode == 1, done.stderr
    assert done.stdout.strip() == (
        "6 stored, 1 of them embedded anew from their audio, "
        "1 of them without an embedding: no search finds them, 0 already stored, 2 refused"
    )
    assert "bad/dimension: The service answered 422: embedding: has 7 numbers" in done.stderr
    assert "bad/scores: result.json" in done.stderr
    check_imported(service, results, audio)
    again = run(*arguments, cwd=service.directory)
    assert again.stdout.strip() == "0 stored, 6 already stored, 2 refused"
    # The service's own directories are known, and a deleted clip may come back.
    own = run("import", service.outputs_dir, "--url", service.url, cwd=service.directory)
    assert own.stdout.strip() == "0 stored, 1 already stored, 0 refused"
    shutil.rmtree(results / "bad")
    [clip] = service.get("/clips", **{"meta.source_path": "old/scores"}).json()["clips"]
    requests.delete(f"{service.url}/api/v1/clips/{clip['clip_id']}")
    back = run(*arguments, cwd=service.directory)
    assert (back.returncode, "1 stored" in back.stdout) == (0, True)

    service.stop()
    fresh = service.directory / "fresh"
    environment = {"EMOSEEK_DATA_DIR": str(fresh), "EMOSEEK_PORT": free_port()}
    alone = run("import", results, cwd=service.directory, **environment)
    assert alone.returncode == 0, alone.stderr
    service.start(EMOSEEK_DATA_DIR=str(fresh))
    check_imported(service, results, audio)
    assert len(list(fresh.glob("audio/*/*.flac"))) == 4


def test_a_directory_without_results_and_embeddings_of_another_model(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start()
    (tmp_path / "empty").mkdir()
    done = run("import", tmp_path / "empty", "--url", service.url, cwd=tmp_path)
    assert (done.returncode, "no result.json" in done.stderr) == (1, True)
    write_result(tmp_path / "theirs", embedding(), model={"id": "x", "digest": "0" * 64})
    done = run("import", tmp_path / "theirs", "--url", service.url, cwd=tmp_path)
    assert (done.returncode, "another model" in done.stderr) == (1, True)
    assert service.get("/clips/count").json() == {"count": 0}
