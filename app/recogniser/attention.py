"""Self-attention over a packed batch: every clip attends to itself alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.recogniser.alibi import Alibi

SCORES = 2**19  # attention scores held at a time on a CPU: what fits in its caches


def attend(qkv: Tensor, lengths: Sequence[int], heads: int, alibi: Alibi | None) -> Tensor:
    """softmax(q·kᵀ + bias)·v of each clip.

    Args:
        qkv: (sum of lengths, 3·D), the queries scaled already.

    Returns:
        (sum of lengths, D).
    """
    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    mixed = qkv.new_empty(tokens, heads, width // heads)
    start = 0
    for length in lengths:
        stop = start + length
        clip = qkv[start:stop].view(length, 3, heads, width // heads)
        q, k, v = clip.permute(1, 2, 0, 3).unbind()  # (heads, length, head dimension) each
        bias = None if alibi is None else alibi(length)
        together = max(1, SCORES // length**2)
        for first in range(0, heads, together):
            part = slice(first, first + together)
            keys = k[part].transpose(1, 2)
            if bias is None:
                scores = torch.bmm(q[part], keys)
            else:
                scores = torch.baddbmm(bias[part], q[part], keys)
            mixed[start:stop, part] = torch.bmm(scores.softmax(-1), v[part]).transpose(0, 1)
        start = stop
    return mixed.view(tokens, width)
