"""Another model than the bundled one, as small, with random weights."""

from __future__ import annotations

from pathlib import Path

from app.recogniser.load import reference_clips
from scripts.random_model import write
from tests.service import Service

NAME = "other"


def place_second_model(service: Service, *, name: str = NAME, size: str = "small") -> Path:
    """Write one where a service finds it by its name; returns its directory."""
    directory = service.data_dir / "models" / name
    return write(directory, size, clips=reference_clips(), seed=5)
