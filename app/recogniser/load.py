"""From settings to a warm Recogniser."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.audio import decode
from app.domain import SAMPLE_RATE
from app.errors import ModelError, SettingsError
from app.recogniser import model_dir, sources
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.recogniser import Recogniser
from app.settings import Settings

REFERENCE_CLIPS = Path(__file__).parent / "reference"  # made by scripts/make_test_audio.py

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    recogniser: Recogniser
    directory: model_dir.ModelDirectory

    def prior_mean(self) -> NDArray[np.float32]:
        """(D,) the mean embedding to assume of a library that is still empty: shipped with the
        model (`prior_mean.npy`), else the mean over the reference clips that the project ships.

        Raises:
            ModelError: the file does not fit the model.
        """
        path = self.directory.path / "prior_mean.npy"
        if not path.is_file():
            return self._mean_of_reference_clips()
        try:
            mean: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except ValueError as exc:
            raise ModelError("prior_mean.npy is not a NumPy array.") from exc
        if mean.shape != (self.directory.dimension,) or not np.isfinite(mean).all():
            raise ModelError(f"prior_mean.npy is not ({self.directory.dimension},) finite numbers.")
        return mean.astype(np.float32)

    def _mean_of_reference_clips(self) -> NDArray[np.float32]:
        embeddings = []
        for path in sorted(REFERENCE_CLIPS.glob("*.flac")):
            with path.open("rb") as file:
                audio = decode(file, max_seconds=30)
            embeddings.append(self.recogniser.recognise(audio.waveforms[0]).embedding)
        mean: NDArray[np.float32] = np.stack(embeddings).mean(axis=0)
        return mean


def load(settings: Settings, decided: str | None) -> Loaded:
    """Find, check, load and warm the model that the settings ask for.

    Args:
        decided: id of the model that the database was decided for, which `auto` keeps.

    Raises:
        ModelError: the model cannot be had or does not fit together.
        SettingsError: the device is not there.
    """
    source = sources.find(settings.model, decided, settings.hub, settings.model_revision)
    directory = model_dir.read(source.path)
    encoder = FunasrEncoder(
        directory,
        source.id,
        device=_device(settings.device),
        dtype="bf16" if settings.dtype == "bf16" else "fp32",
        bundled=source.bundled,
    )
    recogniser = Recogniser(encoder)
    for seconds in (0.5, 3.0):
        recogniser.recognise(np.zeros(int(seconds * SAMPLE_RATE), np.float32))
    if source.bundled:
        log.warning("This is the small bundled model; production uses %s.", sources.LARGE)
    log.info(
        "Model %s (%s…), %d dimensions, %s on %s in %s.",
        recogniser.info.id,
        recogniser.info.digest[:12],
        recogniser.info.dimension,
        recogniser.runtime,
        recogniser.device,
        recogniser.dtype,
    )
    return Loaded(recogniser, directory)


def _device(setting: str) -> str:
    available = torch.cuda.is_available()
    if setting == "auto":
        return "cuda" if available else "cpu"
    if setting.startswith("cuda") and not available:
        raise SettingsError(f"EMOSEEK_DEVICE is {setting}, and no CUDA device is available.")
    return setting
