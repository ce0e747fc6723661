"""Which model is found: bundled, a directory, a hub's cache, and no network."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from app.errors import ModelError, SettingsError
from app.recogniser import load
from app.recogniser.hubs import HUBS, huggingface, probe
from app.recogniser.hubs.contract import CannotDownload
from app.recogniser.hubs.huggingface import HuggingFace
from app.recogniser.load import REFERENCE_CLIPS
from app.recogniser.model_dir import BUNDLED
from app.recogniser.sources import BUNDLED_ID, LARGE, Source, auto_choice, find
from app.settings import Settings
from tests.conftest import ROOT
from tests.recogniser.hub_server import HubServer

pytestmark = pytest.mark.usefixtures("caches")
both_hubs = pytest.mark.parametrize("hub", ["modelscope", "huggingface"])


def cache(caches: dict[str, str], model_id: str) -> Path:
    """Put the bundled model in ModelScope's cache, as a download of `model_id` leaves it."""
    name = model_id.replace("/", "--")
    path = Path(caches["MODELSCOPE_CACHE"]) / "models" / name / "snapshots" / "master"
    return Path(shutil.copytree(BUNDLED, path))


@both_hubs
def test_auto_is_the_bundled_model_without_a_network(
    hub: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert find("auto", None, hub, None) == Source(BUNDLED_ID, BUNDLED)
    model_id, reason = auto_choice(hub, None)
    assert model_id == BUNDLED_ID
    assert "does not answer" in reason
    assert LARGE in caplog.text
    assert "does not answer" in caplog.text


@both_hubs
def test_auto_is_the_large_model_when_its_hub_answers(server: HubServer, hub: str) -> None:
    assert auto_choice(hub, None) == (LARGE, f"which {HUBS[hub].title} would give")
    source = find("auto", None, hub, None)
    assert source.id == LARGE
    assert not source.bundled
    assert auto_choice(hub, None) == (LARGE, "which is cached")


@both_hubs
def test_auto_is_the_bundled_model_when_the_download_fails(
    server: HubServer, hub: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.damaged["model.pt"] = 100
    assert find("auto", None, hub, None).bundled
    assert "model.pt arrived damaged" in caplog.text


@both_hubs
def test_auto_does_not_wait_for_a_network_that_swallows(
    monkeypatch: pytest.MonkeyPatch, hub: str
) -> None:
    """A listener that accepts and never answers; the test hangs if `auto` waits for it."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", url)
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert find("auto", None, hub, None).bundled


@both_hubs
def test_auto_does_not_wait_for_a_resolver_that_hangs(
    monkeypatch: pytest.MonkeyPatch, hub: str
) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    asked, answer = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        asked.set()
        answer.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://hub.example")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    found = []
    thread = threading.Thread(target=lambda: found.append(find("auto", None, hub, None)))
    thread.start()
    assert asked.wait(30)
    thread.join(30)  # the resolver would take twice as long
    answer.set()
    assert [source.bundled for source in found] == [True]


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_auto_asks_no_hub_that_is_not_to_be_asked(
    server: HubServer,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(name, "1")
    assert auto_choice("huggingface", None) == (BUNDLED_ID, f"because {name} is set")
    assert find("auto", None, "huggingface", None).bundled
    assert f"{name} is set" in caplog.text
    assert server.requests == []


@both_hubs
def test_auto_does_not_take_a_login_page_for_a_hub(
    server: HubServer, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(name, f"{server.url}/cdn/main/README.md?")
    model_id, reason = auto_choice(hub, None)
    assert model_id == BUNDLED_ID
    assert "not understood" in reason
    assert "GET /cdn/main/README.md" in server.requests


def test_auto_is_the_large_model_when_it_is_cached(caches: dict[str, str]) -> None:
    path = cache(caches, LARGE)
    assert find("auto", None, "modelscope", None) == Source(LARGE, path)
    assert find("auto", None, "huggingface", None).bundled


def test_auto_keeps_what_the_database_was_decided_for(caches: dict[str, str]) -> None:
    cache(caches, LARGE)
    assert find("auto", BUNDLED_ID, "modelscope", None).bundled
    assert find("auto", str(BUNDLED), "modelscope", None).path == BUNDLED


@both_hubs
def test_a_model_that_was_decided_for_is_not_replaced_by_another(hub: str) -> None:
    with pytest.raises(ModelError, match="could not be downloaded"):
        find("auto", LARGE, hub, None)


@pytest.mark.parametrize(
    "setting",
    [
        *("nothing", "./missing", "/missing/dir", "a/b/c", "../b", "a/..", "a/b c", "~/b"),
        *("x" * 5000, "a/" + "b" * 5000, "a" * 200 + "/b"),
    ],
)
def test_neither_a_directory_nor_an_id(setting: str) -> None:
    with pytest.raises(ModelError, match="neither"):
        find(setting, None, "modelscope", None)


def test_the_bundled_model_asks_for_no_hubs_library() -> None:
    """They take their time to import, and speak to their hubs."""
    program = (
        "import sys; from app.recogniser import load; from app.settings import Settings;"
        "load(Settings(model='bundled'), None);"
        "print([m for m in ('modelscope', 'modelscope_hub', 'huggingface_hub', 'httpx2')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


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


@pytest.mark.parametrize("kind", ["empty", "archive", "words"])
def test_a_prior_that_is_no_array_of_numbers_is_refused(tmp_path: Path, kind: str) -> None:
    directory = Path(shutil.copytree(BUNDLED, tmp_path / "model"))
    path = directory / "prior_mean.npy"
    with path.open("wb") as file:
        if kind == "archive":
            np.savez(file, mean=np.zeros(192, np.float32))
        elif kind == "words":
            np.save(file, np.array(["a"] * 192))
    with pytest.raises(ModelError, match="prior_mean"):
        load(Settings(model=str(directory)), None).prior_mean()


def test_the_reference_clips_are_the_projects_own_voices(audio: Path) -> None:
    clips = sorted(REFERENCE_CLIPS.glob("*.flac"))
    assert len(clips) == 4
    for path in clips:
        assert path.read_bytes() == (audio / path.name).read_bytes()


@pytest.mark.parametrize("named", ["model.pt", "the commit"])
def test_a_digest_cannot_name_another_file(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    up = "../../../victim"
    lfs = types.SimpleNamespace(size=9, sha256=up if named == "model.pt" else "0" * 64)
    file = types.SimpleNamespace(rfilename="model.pt", size=9, lfs=lfs, blob_id="0" * 40)
    info = types.SimpleNamespace(siblings=[file], sha=up if named == "the commit" else "1" * 40)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    with pytest.raises(CannotDownload, match=f"no digest of {named}"):
        HuggingFace().listing("iic/emotion2vec_plus_base", "main")


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(huggingface, "LISTING_SECONDS", 0.5)
        with pytest.raises(CannotDownload):
            HuggingFace().listing("iic/emotion2vec_plus_base", "main")


@both_hubs
def test_a_hubs_address_without_a_scheme(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "hub.example/")
    assert HUBS[hub].probe_url(LARGE, "v1").startswith("https://hub.example/api/")
