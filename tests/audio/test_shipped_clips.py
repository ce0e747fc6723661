"""The clips of tests/data are what scripts/make_test_audio.py makes."""

from __future__ import annotations

import importlib.util
import pathlib
import types

import numpy as np
import pytest
import soundfile
from audio_files import DATA, SHIPPED

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def maker() -> types.ModuleType:
    path = ROOT / "scripts" / "make_test_audio.py"
    spec = importlib.util.spec_from_file_location("make_test_audio", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_shipped_clips(
    maker: types.ModuleType, tmp_path: pathlib.Path
) -> None:
    maker.main(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in SHIPPED]
    for mood, voice, _ in maker.CLIPS:
        name = f"{mood}_voice_{voice}.flac"
        made, _ = soundfile.read(tmp_path / name)
        shipped, rate = soundfile.read(DATA / name)
        assert rate == 16_000
        assert np.abs(made - shipped).max() <= 2 * 2**-15  # other processors round differently


def test_they_are_small_and_as_long_as_speech() -> None:
    assert sum(path.stat().st_size for path in SHIPPED) <= 500_000
    for path in DATA.glob("*_voice_?.flac"):
        samples, _ = soundfile.read(path)
        assert 1.5 <= len(samples) / 16_000 <= 4
        assert 0.1 < np.abs(samples).max() < 0.99


def test_they_are_diverse(maker: types.ModuleType) -> None:
    """Spectra of voices and moods differ, loud from quiet and bright from dark."""
    levels, centroids = {}, {}
    for mood, voice, _ in maker.CLIPS:
        samples, _ = soundfile.read(DATA / f"{mood}_voice_{voice}.flac")
        power = np.abs(np.fft.rfft(samples)) ** 2
        levels[mood] = 20 * np.log10(samples.std())
        centroids[mood] = (power * np.arange(len(power))).sum() / power.sum() / len(power)
    assert levels["angry"] - levels["sad"] > 6  # dB
    assert centroids["angry"] > 2 * centroids["sad"]
