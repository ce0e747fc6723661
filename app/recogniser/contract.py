"""What runs a model, as the rest of the recogniser sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.domain import ModelInfo, Recognition, Waveform
from app.errors import NoAudio


class Encoder(Protocol):
    """Runs a model over one batch at a time.

    `workers` is how many threads may do so at once, and `cores` how many threads of PyTorch's
    they are to share.
    """

    info: ModelInfo
    runtime: str
    device: str
    dtype: str
    workers: int
    cores: int

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        """Scores and embedding of each Waveform of at least 400 samples, in order.

        A waveform that the model makes no finite numbers of gets a NoAudio in its place; what
        the others get does not depend on it.

        Args:
            frames: for each waveform, whether to give embeddings and scores of each frame too.
        """
        ...
