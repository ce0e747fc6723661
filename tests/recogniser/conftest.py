"""Hubs that tests can speak to, and caches of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recogniser.hub_server import HubServer


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Empty caches of both hubs, and hubs at an address where nobody listens."""
    environment = {
        "MODELSCOPE_CACHE": str(tmp_path / "modelscope"),
        "MODELSCOPE_HOME": str(tmp_path / "modelscope_home"),
        "MODELSCOPE_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "huggingface"),
        "HF_HUB_CACHE": str(tmp_path / "huggingface" / "hub"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, caches: dict[str, str]) -> Iterator[HubServer]:
    """A hub on this machine, to which both libraries are sent."""
    with HubServer() as running:
        for name in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
            monkeypatch.setenv(name, running.url)
            caches[name] = running.url
        yield running
