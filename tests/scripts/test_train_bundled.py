"""Training the bundled model: what it hears, what it is told, and that its directory loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from funasr.models.emotion2vec.model import Emotion2vec
from omegaconf import OmegaConf

from app.domain import SAMPLE_RATE, WINDOW, frame_count
from scripts import train_bundled
from scripts.bundled_training import (
    acoustics,
    augment,
    corpus,
    evaluate,
    finetune,
    network,
    synthesis,
)

RATE = SAMPLE_RATE


def vowel(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """A steady voice: harmonics of `pitch`, each 6 dB below the one an octave under it."""
    time = np.arange(int(seconds * RATE)) / RATE
    count = int(4000 / pitch)
    wave = sum(np.sin(2 * np.pi * pitch * k * time + k * k) / k for k in range(1, count + 1))
    return np.asarray(wave, dtype=np.float32)


def pitch_of(waveform: np.ndarray) -> float:
    analysis = acoustics.analyse(waveform)
    return float(np.median(analysis.pitch[analysis.periodicity > acoustics.VOICED]))


def test_network_frames_are_those_of_the_contract() -> None:
    model = network.build(0).eval()
    for samples in (400, 719, 720, 16_000):
        with torch.inference_mode():
            frames = network.frames_of(model, torch.randn(1, samples))
        assert frames.shape == (1, (samples - 400) // 320 + 1, network.EMBED_DIM)
        assert frame_count(samples) == frames.shape[1]


def test_first_filters_read_the_band_whatever_the_phase() -> None:
    filters, bands = network.filterbank()
    time = np.arange(WINDOW) / RATE
    strengths = []
    for phase in np.linspace(0, np.pi, 7):
        heard = filters @ np.sin(2 * np.pi * 500.0 * time + phase).astype(np.float32)
        strengths.append(bands @ np.square(heard))
    spread = np.ptp(strengths, axis=0).max() / np.max(strengths)
    assert spread < 0.05
    loudest = np.argmax(np.mean(strengths, axis=0)[:60])
    assert abs(60.0 + 20.0 * loudest - 500.0) <= 20.0


@pytest.mark.parametrize("pitch", [90.0, 150.0, 310.0])
def test_analysis_finds_the_pitch(pitch: float) -> None:
    assert pitch_of(vowel(pitch)) == pytest.approx(pitch, rel=0.02)


def test_targets_are_finite_even_for_silence_and_clicks() -> None:
    click = np.zeros(9_000, dtype=np.float32)
    click[5_000] = 1.0
    for waveform in (np.zeros(9_000, dtype=np.float32), click, vowel(120.0)):
        taken = corpus.take(waveform)
        assert taken.statistics.shape == (acoustics.CLIP_TARGETS,)
        assert taken.frames.shape == (frame_count(len(waveform)), acoustics.BANDS + 2)
        assert np.isfinite(taken.statistics).all()
        assert np.isfinite(taken.frames).all()


def test_synthesis_sounds_at_the_pitch_it_reports() -> None:
    errors: list[float] = []
    for seed in range(6):
        made = synthesis.utterance(np.random.default_rng(seed), 32_000)
        heard = corpus.take(made.waveform).frames
        both = (made.voiced > 0) & (heard[:, -1] > 0)
        errors.extend(np.abs(made.octaves[both] - heard[both, -2]))
        assert made.waveform.shape == (32_000,)
        assert made.octaves.shape == (frame_count(32_000),)
    assert np.median(errors) < 0.02
    assert np.mean(np.array(errors) > 0.15) < 0.3


def test_synthesis_follows_the_seed() -> None:
    once, again, other = (
        synthesis.utterance(np.random.default_rng(seed), 24_000) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(once.waveform, again.waveform)
    assert not np.array_equal(once.waveform, other.waveform)


def test_resampling_moves_pitch_and_length() -> None:
    faster = augment.resample(vowel(150.0), 1.25)
    assert len(faster) == pytest.approx(RATE / 1.25, rel=0.01)
    assert pitch_of(faster) == pytest.approx(187.5, rel=0.02)


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_stretching_moves_length_alone(factor: float) -> None:
    slower = augment.stretch(vowel(150.0), factor)
    assert len(slower) == pytest.approx(RATE / factor, rel=0.06)
    assert pitch_of(slower) == pytest.approx(150.0, rel=0.02)


def test_warping_moves_the_spectrum_and_neither_pitch_nor_length() -> None:
    made = synthesis.utterance(np.random.default_rng(3), 32_000).waveform
    centroids = []
    for factor in (0.85, 1.0, 1.18):
        warped = augment.warp_formants(made, factor)
        assert warped.shape == made.shape
        power = acoustics.analyse(warped).power.mean(axis=0)
        centroids.append(float(power @ np.arange(len(power)) / power.sum()))
    assert centroids[0] < centroids[1] < centroids[2]
    np.testing.assert_allclose(augment.warp_formants(made, 1.0), made, atol=1e-3)
    assert pitch_of(augment.warp_formants(vowel(150.0), 1.15)) == pytest.approx(150.0, rel=0.02)


def test_degrading_keeps_shape_and_follows_the_generator() -> None:
    batch = torch.from_numpy(np.stack([vowel(100.0), vowel(200.0)]))
    once = augment.degrade(batch, torch.Generator().manual_seed(1))
    again = augment.degrade(batch, torch.Generator().manual_seed(1))
    assert once.shape == batch.shape
    assert bool(torch.isfinite(once).all())
    torch.testing.assert_close(once, again)
    untouched = augment.degrade(batch, torch.Generator().manual_seed(1), chance=0.0)
    torch.testing.assert_close(untouched, batch, atol=2e-3, rtol=0.0)


def test_labels_that_never_occur_are_never_wanted() -> None:
    occurring = torch.tensor([1.0] * 7 + [0.0] * 2)
    wanted = finetune.targets_of(torch.tensor([0, 6]), occurring, 0.1)
    assert bool((wanted[:, 7:] == 0).all())
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(2))


def test_contrast_prefers_labels_together() -> None:
    together = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    labels = torch.tensor([0, 0, 1, 1])
    apart = finetune.contrastive(together, torch.tensor([0, 1, 0, 1]), 0.2)
    assert finetune.contrastive(together, labels, 0.2) < apart
    assert finetune.contrastive(together, torch.arange(4), 0.2) == 0.0


def test_outcome_counts_recall_by_label_and_speaker() -> None:
    truth, answers = np.array([0, 0, 3, 3, 3, 3]), np.array([0, 3, 3, 3, 3, 0])
    result = evaluate.outcome(["a", "a", "a", "b", "b", "b"], truth, answers)
    assert result.recall == pytest.approx(0.625)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.by_label == {"angry": 0.5, "happy": 0.75}
    assert result.by_speaker == pytest.approx({"a": 0.75, "b": 2 / 3})
    assert result.confusion[3][0] == 1
    assert "| angry | 1 |" in evaluate.table(result)


def test_excluded_speakers_are_nowhere_in_the_lessons(emodb: Path) -> None:
    heard = corpus.lessons(corpus.read(emodb, limit=20), voices=0, seed=0)
    kept = corpus.without(heard, {"03", "16"})
    assert {lesson.speaker for lesson in heard} - {lesson.speaker for lesson in kept} == {
        "03",
        "16",
    }


def test_an_unknown_speaker_is_refused(emodb: Path, tmp_path: Path) -> None:
    trial = [
        "--emodb",
        str(emodb),
        "--out",
        str(tmp_path),
        "--clips",
        "8",
        "--steps",
        "1",
        "--made",
        "4",
    ]
    with pytest.raises(SystemExit, match="99"):
        train_bundled.main([*trial, "--exclude-speakers", "99"])


def test_a_tiny_run_writes_a_directory_that_funasr_loads(emodb: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    trial = ["--clips", "14", "--steps", "2", "--made", "6", "--exclude-speakers", "03,08"]
    train_bundled.main(["--emodb", str(emodb), "--out", str(out), *trial])

    written = {path.name for path in out.iterdir()}
    assert written == {
        "config.yaml",
        "configuration.json",
        "model.pt",
        "tokens.txt",
        "prior_mean.npy",
        "MODEL_CARD.md",
    }
    assert (out / "tokens.txt").read_text(encoding="utf-8").split() == list(network.TOKENS)
    assert np.load(out / "prior_mean.npy").shape == (network.EMBED_DIM,)
    metas = json.loads((out / "configuration.json").read_text())["file_path_metas"]
    assert metas["init_param"] == "model.pt"
    assert metas["config"] == "config.yaml"

    config = OmegaConf.to_container(OmegaConf.load(out / "config.yaml"))
    assert isinstance(config, dict)
    state = torch.load(out / "model.pt", weights_only=True)
    model = Emotion2vec(model_conf=config["model_conf"], vocab_size=len(network.TOKENS))
    model.load_state_dict(state, strict=True)
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
