"""ALiBi: a bias on attention that grows with distance (Press et al., 2021), here symmetric."""

from __future__ import annotations

import math
import threading
from typing import Self

import torch
from torch import Tensor

from app.recogniser.architecture import Architecture
from app.recogniser.checkpoint import Weights
from app.recogniser.linear import Placement

STEP = 256  # tokens by which the kept bias grows


class Alibi:
    """−slope·|i − j| for each head, zero from and to the extra tokens in front.

    One (heads, T, T) tensor is kept for the longest clip so far. The bias of a shorter clip is its
    corner, and clips are at most 30 s (1536 tokens kept: 75 MB in bf16 for 16 heads).
    """

    def __init__(self, slopes: Tensor, extra_tokens: int, on: Placement) -> None:
        self._slopes = slopes  # (heads,) float32
        self._extra = extra_tokens
        self._on = on
        self._growing = threading.Lock()
        self._bias = torch.zeros(len(slopes), 0, 0, dtype=on.dtype, device=on.device)

    @classmethod
    def of(cls, audio: Weights, architecture: Architecture, on: Placement) -> Self | None:
        """With the checkpoint's learned scales; None when the model has no such bias.

        Raises:
            ModelError: the scales are missing or of another shape.
        """
        heads = architecture.alibi_heads
        if not heads:
            return None
        scale = audio.take("alibi_scale", 1, 1, architecture.alibi_scales, 1, 1).flatten()
        slopes = torch.zeros(architecture.heads)
        slopes[:heads] = torch.tensor(_slopes(heads)) * scale.float().clamp_min(0)
        return cls(slopes, architecture.extra_tokens, on)

    def __call__(self, tokens: int) -> Tensor:
        """(heads, tokens, tokens)."""
        bias = self._bias
        if tokens > bias.shape[1]:
            with self._growing:
                bias = self._bias
                if tokens > bias.shape[1]:
                    bias = self._bias = self._make(math.ceil(tokens / STEP) * STEP)
        return bias[:, :tokens, :tokens]

    def _make(self, tokens: int) -> Tensor:
        bias = torch.zeros(
            len(self._slopes), tokens, tokens, dtype=self._on.dtype, device=self._on.device
        )
        position = torch.arange(tokens - self._extra, dtype=torch.float32)
        distance = (position - position[:, None]).abs()
        for head, slope in zip(bias, self._slopes, strict=True):  # one fp32 copy at a time
            head[self._extra :, self._extra :] = -slope * distance
        return bias


def _slopes(heads: int) -> list[float]:
    """Slope of each head; for a number that is no power of two as ALiBi's authors fill it up."""
    whole = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    if whole < heads:
        slopes += _slopes(2 * whole)[0::2][: heads - whole]
    return slopes
