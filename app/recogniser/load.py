"""From settings to a warm Recogniser."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.audio import decode
from app.domain import SAMPLE_RATE, ModelInfo, Waveform
from app.errors import ModelError, SettingsError
from app.recogniser import model_dir, sources
from app.recogniser.contract import Encoder
from app.recogniser.emotion2vec import LARGE_DIMENSION
from app.recogniser.fast_runtime import FastEncoder, native_dtype
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.model_dir import ModelDirectory
from app.recogniser.recogniser import Recogniser
from app.recogniser.sources import Source
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
            mean = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as exc:
            raise ModelError("prior_mean.npy is not a NumPy array.") from exc
        if not isinstance(mean, np.ndarray) or mean.dtype.kind != "f":
            raise ModelError("prior_mean.npy is not an array of floating-point numbers.")
        if mean.shape != (self.directory.dimension,) or not np.isfinite(mean).all():
            raise ModelError(f"prior_mean.npy is not ({self.directory.dimension},) finite numbers.")
        return mean.astype(np.float32)

    def _mean_of_reference_clips(self) -> NDArray[np.float32]:
        embeddings = [self.recogniser.recognise(clip).embedding for clip in reference_clips()]
        mean: NDArray[np.float32] = np.stack(embeddings).mean(axis=0)
        return mean


def load(settings: Settings, decided: ModelInfo | None) -> Loaded:
    """Find, check, load and warm the model that the settings ask for.

    Args:
        decided: the model that the database was decided for; `auto` keeps it and its arithmetic.

    Raises:
        ModelError: the model cannot be had or does not fit together.
        SettingsError: the device or the arithmetic is not there.
    """
    source = None
    if decided is not None and settings.model == "auto" and settings.model_revision is not None:
        with contextlib.suppress(ModelError):  # of the revision, which may be another model's
            source = _as_stored(settings, decided)
    source = source or sources.find(
        settings.model, decided.id if decided else None, settings.hub, settings.model_revision
    )
    return load_from(settings, source, [decided.digest] if decided else [])


def load_stored(settings: Settings, model: ModelInfo) -> Loaded:
    """A model that has embedded clips, as it did then, from files of this machine.

    Raises:
        ModelError: it is not here, or is another by now; nothing is downloaded.
        SettingsError: the device or the arithmetic is not there.
    """
    loaded = load_from(settings, _as_stored(settings, model), [model.digest])
    if loaded.recogniser.info.digest == model.digest:
        return loaded
    loaded.recogniser.close()
    raise SettingsError(
        f"EMOSEEK_DTYPE is {settings.dtype}, and {model.id} has embedded clips here in another "
        "arithmetic."
    )


def is_pinned(settings: Settings, model: ModelInfo) -> bool:
    """Whether EMOSEEK_MODEL names this model, in whatever arithmetic, by files of this machine."""
    if settings.model == "auto":
        return False
    try:
        source = sources.local_or_cached(settings.model, settings.hub, settings.model_revision)
        return is_model(source, model)
    except ModelError:
        return False


def is_model(source: Source, model: ModelInfo) -> bool:
    """Whether it is this model, in whatever arithmetic. Raises ModelError."""
    return model.digest in _digests(model_dir.read(source.path))


def load_from(settings: Settings, source: Source, known: Collection[str]) -> Loaded:
    """Check, load and warm a model that was found.

    Args:
        known: digests of models that have embedded clips; of one of these, its arithmetic is kept.

    Raises:
        ModelError: it does not fit together.
        SettingsError: the device or the arithmetic is not there.
    """
    directory = model_dir.read(source.path)
    device = _device(settings.device)
    dtype = _dtype(settings, device, directory, known)
    encoder: Encoder
    if settings.runtime == "funasr":
        encoder = FunasrEncoder(
            directory, source.id, device=device, dtype=dtype, bundled=source.bundled
        )
    else:
        encoder = FastEncoder(
            directory,
            source.id,
            device=device,
            dtype=dtype,
            bundled=source.bundled,
            reference=reference_clips(),
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


def reference_clips() -> list[Waveform]:
    """The speech that ships with the project (synthesised, 7 s in all)."""
    waveforms: list[Waveform] = []
    for path in sorted(REFERENCE_CLIPS.glob("*.flac")):
        with path.open("rb") as file:
            waveforms.extend(decode(file, max_seconds=30).waveforms)
    return waveforms


def _as_stored(settings: Settings, model: ModelInfo) -> Source:
    """A model that has embedded clips, in whatever arithmetic, from files of this machine.

    Raises:
        ModelError: it is not here, or is another by now.
    """
    failure = None
    for revision in dict.fromkeys((settings.model_revision, None)):
        try:
            source = sources.local_or_cached(model.id, settings.hub, revision)
            if is_model(source, model):
                return source
        except ModelError as exc:
            failure = exc
    raise failure or ModelError(
        f"{model.id} is not the model any more that has embedded clips here."
    )


def _digests(directory: ModelDirectory) -> dict[str, str]:
    """The arithmetic of each digest that the directory's model may have."""
    return {directory.digest(dtype): dtype for dtype in model_dir.ARITHMETICS}


def _dtype(
    settings: Settings, device: str, directory: ModelDirectory, known: Collection[str]
) -> str:
    """What `auto` means here: the arithmetic that the database's clips were embedded in, else
    the fastest one that the processor has for a network of this size."""
    chosen: str = settings.dtype
    if chosen == "auto":
        for digest, dtype in _digests(directory).items():
            if digest in known:
                chosen = dtype
    if settings.runtime == "funasr" and chosen == "int8":
        raise SettingsError(
            "EMOSEEK_DTYPE is int8, or was for this database: that needs EMOSEEK_RUNTIME=fast."
        )
    if chosen != "auto":
        return chosen
    if settings.runtime == "funasr" or directory.dimension < LARGE_DIMENSION:
        return "fp32"  # a small network gains nothing from bf16
    return native_dtype(torch.device(device))


def _device(setting: str) -> str:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "auto":
        return "cuda" if gpus else "cpu"
    if setting == "cpu":
        return setting
    if not gpus:
        raise SettingsError(f"EMOSEEK_DEVICE is {setting}, and no CUDA device is available.")
    if int(setting.partition(":")[2] or 0) >= gpus:
        raise SettingsError(f"EMOSEEK_DEVICE is {setting}, and the last one is cuda:{gpus - 1}.")
    return setting
