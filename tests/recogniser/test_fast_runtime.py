"""Our network against FunASR's on the same samples, alone and in batches."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.domain import SAMPLE_RATE, Recognition, Waveform
from app.errors import NoAudio
from app.recogniser import attention, fast_runtime
from app.recogniser.fast_runtime import FastEncoder, native_dtype
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.load import reference_clips
from app.recogniser.model_dir import BUNDLED, read
from scripts.random_model import write

SIZES = ["bundled", "base", "large"]
# Seconds: from the shortest clip with a frame to the longest segment, some of them alike.
LENGTHS = [0.03, 0.025, 0.06, 0.5, 1.0, 1.0, 1.02, 2.2, 3.1, 4.0, 7.5, 12.0, 30.0]


@dataclasses.dataclass
class Case:
    """A model directory, and what FunASR makes of the waveforms with it."""

    directory: Path
    expected: list[Recognition]


@pytest.fixture(scope="module")
def waveforms() -> list[Waveform]:
    """Stretches of the shipped voices, each of its own length, level and place."""
    speech = np.concatenate(reference_clips())
    random = np.random.default_rng(3)
    noise = random.standard_normal(len(speech)).astype(np.float32) * np.float32(0.05)
    speech = np.concatenate([speech, speech[::-1], speech + noise, speech[::2], noise])
    found = []
    for seconds in LENGTHS:
        samples = int(seconds * SAMPLE_RATE)
        start = int(random.integers(0, len(speech) - samples))
        found.append(speech[start : start + samples] * np.float32(random.uniform(0.05, 1)))
    return found


@pytest.fixture(scope="module", params=[*SIZES, "bundled, stale tokens"])
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    waveforms: list[Waveform],
) -> Case:
    size, _, stale = request.param.partition(", ")
    directory = write(
        tmp_path_factory.mktemp("model"), size, clips=waveforms[3:], stale=bool(stale)
    )
    reference = FunasrEncoder(read(directory), "test", device="cpu", dtype="fp32", bundled=False)
    return Case(directory, sure(reference.encode(waveforms, [True] * len(waveforms))))


def load(directory: Path, dtype: str) -> FastEncoder:
    return FastEncoder(
        read(directory),
        "test",
        device="cpu",
        dtype=dtype,
        bundled=False,
        reference=reference_clips(),
    )


def sure(found: list[Recognition | NoAudio]) -> list[Recognition]:
    assert not any(isinstance(one, NoAudio) for one in found)
    return [one for one in found if isinstance(one, Recognition)]


def embeddings(found: list[Recognition]) -> NDArray[np.float32]:
    return np.stack([one.embedding for one in found])


def frames(found: list[Recognition]) -> NDArray[np.float32]:
    return np.concatenate([one.frames.embeddings for one in found if one.frames is not None])


def error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Worst ‖a − b‖ / ‖b − mean‖: cosines of these embeddings are high whatever one does."""
    spread = np.linalg.norm(expected - expected.mean(axis=0), axis=1)
    return float((np.linalg.norm(found - expected, axis=1) / spread).max())


@pytest.mark.parametrize(
    ("dtype", "most", "most_of_scores"), [("fp32", 1e-3, 1e-3), ("bf16", 0.1, 2e-2)]
)
def test_the_numbers_are_funasrs(
    case: Case, waveforms: list[Waveform], dtype: str, most: float, most_of_scores: float
) -> None:
    network = load(case.directory, dtype)
    found = sure(network.encode(waveforms, [True] * len(waveforms)))
    assert error(embeddings(found), embeddings(case.expected)) <= most
    assert error(frames(found), frames(case.expected)) <= most
    scores = np.stack([one.scores for one in found])
    expected = np.stack([one.scores for one in case.expected])
    off = np.abs(scores - expected).max(axis=1)
    assert off[3:].max() <= most_of_scores
    assert off[:3].max() <= 2.5 * most_of_scores  # of a frame or two: there is nothing to average
    confident = (expected[3:].max(axis=1) > 0.9).mean()
    assert 0.4 <= confident <= 0.9  # the head is as sharp as a trained one


def test_a_clip_alone_and_in_any_batch(case: Case, waveforms: list[Waveform]) -> None:
    network = load(case.directory, "fp32")
    alone = [sure(network.encode([waveform], [True]))[0] for waveform in waveforms]
    random = np.random.default_rng(5)
    order = random.permutation(len(waveforms) * 2)[:32] % len(waveforms)
    together = sure(network.encode([waveforms[i] for i in order], [True] * len(order)))
    for i, found in zip(order, together, strict=True):
        expected = alone[i]
        difference = np.linalg.norm(found.embedding - expected.embedding)
        assert difference <= 1e-5 * np.linalg.norm(expected.embedding)
        assert found.frames is not None
        assert expected.frames is not None
        np.testing.assert_allclose(
            found.frames.embeddings, expected.frames.embeddings, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(found.frames.scores, expected.frames.scores, atol=1e-4)


def test_int8_is_near(case: Case, waveforms: list[Waveform]) -> None:
    """A bound for blunders: what it loses is measured by scripts/bench_recognise.py."""
    network = load(case.directory, "int8")
    long = waveforms[3:]
    found = sure(network.encode(long, [False] * len(long)))
    assert error(embeddings(found), embeddings(case.expected[3:])) <= 0.3
    again = sure(network.encode(long[:1], [False]))[0]
    np.testing.assert_allclose(again.embedding, found[0].embedding, rtol=1e-4, atol=1e-4)


def test_samples_that_make_no_numbers_do_not_harm_others(waveforms: list[Waveform]) -> None:
    network = load(BUNDLED, "fp32")
    broken = np.full(8000, np.nan, np.float32)
    first, second, third = network.encode([waveforms[4], broken, waveforms[5]], [False] * 3)
    assert isinstance(second, NoAudio)
    for found, waveform in ((first, waveforms[4]), (third, waveforms[5])):
        [alone] = sure(network.encode([waveform], [False]))
        assert isinstance(found, Recognition)
        np.testing.assert_allclose(found.embedding, alone.embedding, atol=1e-6)


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32")],
)
def test_bf16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: str
) -> None:
    monkeypatch.setattr(fast_runtime.torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_dtype(torch.device("cpu")) == dtype


def test_attention_for_gpus_is_the_same(
    monkeypatch: pytest.MonkeyPatch, case: Case, waveforms: list[Waveform]
) -> None:
    """On the CPU: what a GPU would compute, padded clips and masks and all."""
    network = load(case.directory, "fp32")
    groups = attention.like_lengths([12, 100, 11, 95, 10, 1500])
    assert groups == [[5], [1, 3], [0, 2], [4]]
    expected = embeddings(sure(network.encode(waveforms, [False] * len(waveforms))))
    monkeypatch.setattr(attention, "ClipwiseAttention", attention.PaddedAttention)
    found = embeddings(sure(network.encode(waveforms, [False] * len(waveforms))))
    assert error(found, expected) <= 1e-4
