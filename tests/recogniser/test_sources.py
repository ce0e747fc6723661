"""Which model is found: bundled, a directory, ModelScope's cache, and no network."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from app.errors import ModelError, SettingsError
from app.recogniser import load
from app.recogniser.load import REFERENCE_CLIPS
from app.recogniser.model_dir import BUNDLED
from app.recogniser.sources import BUNDLED_ID, LARGE, Source, find
from app.settings import Settings


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty ModelScope cache, and a hub at an address where nobody listens."""
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")


def cache(tmp_path: Path, model_id: str) -> Path:
    """Put the bundled model in ModelScope's cache, as a download of `model_id` leaves it."""
    owner, name = model_id.split("/")
    path = tmp_path / "cache" / "models" / f"{owner}--{name}" / "snapshots" / "master"
    return Path(shutil.copytree(BUNDLED, path))


def test_auto_is_the_bundled_model_without_a_network(caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    assert find("auto", None) == Source(BUNDLED_ID, BUNDLED)
    assert time.monotonic() - started < 5
    assert LARGE in caplog.text


def test_auto_does_not_wait_for_a_network_that_swallows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{port}")
        started = time.monotonic()
        assert find("auto", None).bundled
        assert time.monotonic() - started < 5


def test_auto_is_the_large_model_when_it_is_cached(tmp_path: Path) -> None:
    path = cache(tmp_path, LARGE)
    assert find("auto", None) == Source(LARGE, path)


def test_auto_keeps_what_the_database_was_decided_for(tmp_path: Path) -> None:
    cache(tmp_path, LARGE)
    assert find("auto", BUNDLED_ID).bundled
    assert find("auto", str(BUNDLED)).path == BUNDLED


def test_a_pinned_model_is_not_replaced_by_another() -> None:
    with pytest.raises(ModelError, match="could not be downloaded"):
        find("auto", LARGE)


def test_a_pinned_model_from_the_cache(tmp_path: Path) -> None:
    path = cache(tmp_path, "iic/emotion2vec_plus_base")
    assert find("iic/emotion2vec_plus_base", None).path == path


def test_a_cache_without_weights_is_none(tmp_path: Path) -> None:
    (cache(tmp_path, LARGE) / "model.pt").unlink()
    assert find("auto", None).bundled


@pytest.mark.parametrize("setting", ["nothing", "./missing", "/missing/dir", "a/b/c"])
def test_neither_a_directory_nor_an_id(setting: str) -> None:
    with pytest.raises(ModelError, match="neither"):
        find(setting, None)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match="EMOSEEK_DEVICE"):
        load(Settings(model="bundled", device="cuda:7"), None)


def test_the_prior_of_a_model_that_ships_none(tmp_path: Path) -> None:
    """It is the mean over reference clips, near every speech embedding as such means are."""
    directory = Path(shutil.copytree(BUNDLED, tmp_path / "model"))
    (directory / "prior_mean.npy").unlink()
    prior = load(Settings(model=str(directory)), None).prior_mean()
    shipped = load(Settings(model="bundled"), None).prior_mean()
    assert prior.shape == shipped.shape
    assert prior.dtype == np.float32
    assert np.isfinite(prior).all()


def test_a_prior_of_another_shape_is_refused(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(BUNDLED, tmp_path / "model"))
    np.save(directory / "prior_mean.npy", np.zeros(3, np.float32))
    with pytest.raises(ModelError, match="prior_mean"):
        load(Settings(model=str(directory)), None).prior_mean()


def test_the_reference_clips_are_the_projects_own_voices(audio: Path) -> None:
    clips = sorted(REFERENCE_CLIPS.glob("*.flac"))
    assert len(clips) == 4
    for path in clips:
        assert path.read_bytes() == (audio / path.name).read_bytes()
