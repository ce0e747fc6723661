"""The recogniser against FunASR's own AutoModel on the same directory."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.audio import decode
from app.domain import LABELS, SAMPLE_RATE, Waveform, frame_count
from app.errors import ModelError
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.model_dir import BUNDLED, read
from app.recogniser.recogniser import Recogniser

STALE = ["生气/angry", "unuse_0", "unuse_1", "开心/happy", "中立/neutral", "unuse_2", "难过/sad"]
STALE += ["unuse_3", "<unk>"]


def load(directory: Path, dtype: str = "fp32") -> Recogniser:
    encoder = FunasrEncoder(read(directory), "test", device="cpu", dtype=dtype, bundled=True)
    return Recogniser(encoder)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return load(BUNDLED)


@pytest.fixture(scope="module")
def waveforms(audio: Path) -> list[Waveform]:
    """The synthesised voices, a 0.025 s clip and 10 s of noise."""
    found = []
    for path in sorted(audio.glob("*_voice_*.flac")):
        with path.open("rb") as file:
            found.append(decode(file, max_seconds=30).waveforms[0])
    noise = np.random.default_rng(1).standard_normal(10 * SAMPLE_RATE).astype(np.float32)
    return [*found, noise[:400], noise * 0.1]


def stale(tmp_path: Path) -> Path:
    """The bundled model with a token file as older copies of the published models have it."""
    directory = Path(shutil.copytree(BUNDLED, tmp_path / "stale"))
    (directory / "tokens.txt").write_text("\n".join(STALE) + "\n", "utf-8")
    return directory


def reference(directory: Path, waveform: Waveform, granularity: str) -> dict[str, Any]:
    """What FunASR answers itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from funasr import AutoModel

        model = AutoModel(model=str(directory), disable_update=True, disable_pbar=True)
        [answer] = model.generate(
            torch.from_numpy(waveform), granularity=granularity, extract_embedding=True
        )
    result: dict[str, Any] = answer
    return result


@pytest.mark.parametrize("kind", ["bundled", "stale"])
def test_the_numbers_are_funasrs(kind: str, tmp_path: Path, waveforms: list[Waveform]) -> None:
    directory = BUNDLED if kind == "bundled" else stale(tmp_path)
    ours = load(directory)
    for waveform in waveforms[-3:]:
        expected = reference(directory, waveform, "utterance")
        found = ours.recognise(waveform)
        np.testing.assert_allclose(found.embedding, expected["feats"], atol=1e-5)
        for token, score in zip(expected["labels"], expected["scores"], strict=True):
            label = "unknown" if token == "<unk>" else token.rpartition("/")[2]
            assert found.scores[LABELS.index(label)] == pytest.approx(score, abs=1e-5)


def test_frames_are_funasrs(recogniser: Recogniser, waveforms: list[Waveform]) -> None:
    expected = reference(BUNDLED, waveforms[0], "frame")["feats"]
    frames = recogniser.recognise(waveforms[0], frames=True).frames
    assert frames is not None
    assert expected.shape == (frame_count(len(waveforms[0])), recogniser.info.dimension)
    np.testing.assert_allclose(frames.embeddings, expected, atol=1e-5)


def test_all_nine_labels_whatever_the_tokens(tmp_path: Path, waveforms: list[Waveform]) -> None:
    for directory in (BUNDLED, stale(tmp_path)):
        for waveform in waveforms:
            scores = load(directory).recognise(waveform).scores
            assert scores.shape == (9,)
            assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert [LABELS[i] for i in np.flatnonzero(scores == 0)] == [
        "disgusted",
        "fearful",
        "other",
        "surprised",
    ]


def test_many_threads_get_the_single_threaded_numbers(
    recogniser: Recogniser, waveforms: list[Waveform]
) -> None:
    alone = [recogniser.recognise(waveform) for waveform in waveforms]
    numbers = [i % len(waveforms) for i in range(64)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda i: recogniser.recognise(waveforms[i]), numbers))
    for i, found in zip(numbers, together, strict=True):
        np.testing.assert_allclose(found.embedding, alone[i].embedding, atol=1e-5)
        np.testing.assert_allclose(found.scores, alone[i].scores, atol=1e-5)


def test_bf16_is_near(recogniser: Recogniser, waveforms: list[Waveform]) -> None:
    rough = load(BUNDLED, "bf16")
    assert rough.info.digest != recogniser.info.digest
    exact = np.stack([recogniser.recognise(w).embedding for w in waveforms])
    found = np.stack([rough.recognise(w).embedding for w in waveforms])
    error = np.linalg.norm(found - exact, axis=1)
    spread = np.linalg.norm(exact - exact.mean(axis=0), axis=1)
    assert 0 < (error / spread).max() < 0.2


class TestWeightsThatDoNotFit:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(BUNDLED, tmp_path / "model"))

    def save(self, directory: Path, weights: object) -> None:
        torch.save(weights, directory / "model.pt")

    def weights(self) -> dict[str, torch.Tensor]:
        loaded: dict[str, torch.Tensor] = torch.load(BUNDLED / "model.pt", weights_only=True)
        return loaded

    @pytest.mark.parametrize("nesting", ["model", "state_dict"])
    def test_nested_and_prefixed_weights_load(
        self, directory: Path, nesting: str, waveforms: list[Waveform]
    ) -> None:
        named = {f"d2v_model.{name}": tensor for name, tensor in self.weights().items()}
        named["d2v_model.modality_encoders.AUDIO.decoder.proj.weight"] = torch.zeros(3)
        self.save(directory, {nesting: named, "optimizer": {"lr": 0.1}})
        found = load(directory).recognise(waveforms[0])
        expected = load(BUNDLED).recognise(waveforms[0])
        np.testing.assert_array_equal(found.embedding, expected.embedding)

    def test_a_missing_weight_is_named(self, directory: Path) -> None:
        weights = self.weights()
        del weights["proj.bias"]
        self.save(directory, weights)
        with pytest.raises(ModelError, match=r"proj\.bias"):
            load(directory)

    def test_a_shape_that_differs_is_named(self, directory: Path) -> None:
        self.save(directory, self.weights() | {"proj.bias": torch.zeros(8)})
        with pytest.raises(ModelError, match=r"proj\.bias is \(8,\)"):
            load(directory)

    def test_more_tokens_than_logits(self, directory: Path) -> None:
        (directory / "tokens.txt").write_text("\n".join(STALE[:8]), "utf-8")
        with pytest.raises(ModelError, match="proj"):
            load(directory)

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04c"])
    def test_not_a_checkpoint(self, directory: Path, content: bytes) -> None:
        (directory / "model.pt").write_bytes(content)
        with pytest.raises(ModelError, match=r"model\.pt"):
            load(directory)

    def test_a_pickle_that_would_run_code_is_refused(self, directory: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (directory / "ran",))

        self.save(directory, {"model": Evil()})
        with pytest.raises(ModelError, match=r"model\.pt"):
            load(directory)
        assert not (directory / "ran").exists()
