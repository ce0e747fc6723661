"""The project's own emotion2vec as an Encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from app.domain import Frames, ModelInfo, Recognition, Waveform
from app.errors import NoAudio
from app.recogniser.architecture import Architecture
from app.recogniser.checkpoint import read_weights
from app.recogniser.emotion2vec import LARGE_DIMENSION, Emotion2vec
from app.recogniser.head import emotion_scores
from app.recogniser.linear import Placement
from app.recogniser.model_dir import ModelDirectory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class FastEncoder:
    """Runs batches of waveforms of any lengths.

    Args:
        dtype: fp32, bf16, or int8 (the rest of the network is then as `native_dtype` says).
        reference: real speech, which the network is fitted to the arithmetic on: it is the first
            batch, with the filler rows of any batch. The front end's layers see it in parts, and
            are fitted on the first (on a CPU 1.3 s).

    Raises:
        ModelError: config, tokens and weights do not fit together.
    """

    runtime = "fast"

    def __init__(
        self,
        directory: ModelDirectory,
        model_id: str,
        *,
        device: str,
        dtype: str,
        bundled: bool,
        reference: Sequence[Waveform],
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.info = ModelInfo(model_id, directory.digest(dtype), directory.dimension, bundled)
        # Work that is small takes longer to divide than to do.
        large = directory.dimension >= LARGE_DIMENSION
        self.cores = torch.get_num_threads() if large else 1
        self.workers = 1 if device.startswith("cuda") else self.cores
        self._columns = directory.columns
        where = torch.device(device)
        arithmetic = DTYPES[native_dtype(where) if dtype == "int8" else dtype]
        self._network = Emotion2vec(
            Architecture.of(directory),
            read_weights(directory.weights),
            Placement(where, arithmetic, int8=dtype == "int8"),
        )
        self._network(self._tensors(reference))

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        """See Encoder."""
        clips = self._network(self._tensors(waveforms))
        embeddings = torch.stack([clip.mean(dim=0) for clip in clips])
        scores = emotion_scores(self._network.logits(embeddings), self._columns)
        recognised: list[Recognition | NoAudio] = []
        for waveform, clip, embedding, its_scores, wanted in zip(
            waveforms, clips, embeddings.cpu().numpy(), scores, frames, strict=True
        ):
            if np.isfinite(embedding).all() and np.isfinite(its_scores).all():
                its_frames = self._frames(clip) if wanted else None
                recognised.append(Recognition(its_scores, embedding, its_frames))
            elif len(waveforms) > 1:  # its neighbour may be the one: attention reads on behind it
                recognised += self.encode([waveform], [wanted])
            else:
                recognised.append(NoAudio("The model hears no finite numbers in this audio."))
        return recognised

    def _frames(self, clip: torch.Tensor) -> Frames:
        scores = emotion_scores(self._network.logits(clip), self._columns)
        return Frames(clip.cpu().numpy().copy(), scores)  # a copy: not a view of the whole batch

    @staticmethod
    def _tensors(waveforms: Sequence[Waveform]) -> list[torch.Tensor]:
        return [torch.tensor(waveform) for waveform in waveforms]


def native_dtype(device: torch.device) -> str:
    """bf16 where the processor multiplies matrices in it, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16") or found.get("amx_bf16") else "fp32"
