"""FunASR's own emotion2vec modules as an Encoder: the reference that others compare with."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from app.domain import Frames, ModelInfo, Recognition, Waveform
from app.errors import ModelError, NoAudio
from app.recogniser.checkpoint import read_weights
from app.recogniser.head import emotion_scores
from app.recogniser.model_dir import ModelDirectory


class FunasrEncoder:
    """Runs one clip at a time: FunASR's modules keep state between calls.

    Raises:
        ModelError: config and weights do not fit together.
    """

    runtime = "funasr"
    workers = 1  # FunASR's modules keep state between calls

    def __init__(
        self, directory: ModelDirectory, model_id: str, *, device: str, dtype: str, bundled: bool
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.info = ModelInfo(model_id, directory.digest(dtype), directory.dimension, bundled)
        self.cores = torch.get_num_threads()
        self._columns = directory.columns
        self._model = _build(directory).to(device).eval()

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        """See Encoder."""
        return [self._encode(*pair) for pair in zip(waveforms, frames, strict=True)]

    def _encode(self, waveform: Waveform, frames: bool) -> Recognition | NoAudio:
        source = torch.from_numpy(np.ascontiguousarray(waveform)).to(self.device)
        with torch.inference_mode(), self._autocast():
            source = torch.nn.functional.layer_norm(source, source.shape)
            x = self._model.extract_features(source.view(1, -1))["x"].float()[0]  # (T, D)
            embedding = x.mean(dim=0)
            scores = emotion_scores(self._model.proj(embedding).float(), self._columns)
            logits = self._model.proj(x).float() if frames else None
        if not (torch.isfinite(embedding).all() and np.isfinite(scores).all()):
            return NoAudio("The model hears no finite numbers in this audio.")
        return Recognition(
            scores=scores,
            embedding=embedding.cpu().numpy(),
            frames=None
            if logits is None
            else Frames(x.cpu().numpy(), emotion_scores(logits, self._columns)),
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        device_type = torch.device(self.device).type
        return torch.autocast(device_type, torch.bfloat16, enabled=self.dtype == "bf16")


def _build(directory: ModelDirectory) -> Any:
    emotion2vec = import_emotion2vec()
    try:
        model = emotion2vec(model_conf=directory.conf, vocab_size=len(directory.columns))
    except Exception as exc:  # whatever FunASR makes of a config that it cannot follow
        raise ModelError(f"config.yaml: FunASR cannot build this model ({exc}).") from exc
    weights = read_weights(directory.weights)
    model.load_state_dict(
        {name: weights.take(name, *tensor.shape) for name, tensor in model.state_dict().items()}
    )
    return model


def import_emotion2vec() -> Any:
    """Import FunASR's Emotion2vec without FunASR's other models.

    `import funasr` imports every model that it has, which takes several seconds; with a bare
    package in its place only the modules that emotion2vec asks for are imported.
    """
    with (
        _bare_package("funasr"),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # distutils and escapes in FunASR's sources
        module = importlib.import_module("funasr.models.emotion2vec.model")
    return module.Emotion2vec


@contextlib.contextmanager
def _bare_package(name: str) -> Iterator[None]:
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]  # a later `import funasr` gets the whole
