"""Self-attention over a packed batch: every clip attends to itself alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from app.recogniser.alibi import Alibi

SCORES = 2**19  # attention scores held at a time on a CPU: what fits in its caches
ROWS = 16  # what sizes of matrices are rounded up to
LIKE = 1.15  # lengths of clips that are padded to one another differ by this at most


def filler(rows: int) -> int:
    """Rows to add. oneDNN compiles a kernel for every size that it meets, in milliseconds, and
    keeps it, in megabytes: few sizes are to occur, and they are the fast ones."""
    return -rows % ROWS


def beyond(lengths: Sequence[int]) -> int:
    """Rows to add behind a packed batch of clips of these lengths (tokens), so that attention can
    read on behind every clip and the whole is of a size that occurs often."""
    ends = zip(itertools.accumulate(lengths), lengths, strict=True)
    rows = max(end + filler(length) for end, length in ends)
    return rows + filler(rows) - sum(lengths)


class Attention(Protocol):
    """softmax(q·kᵀ + bias)·v of each clip, for one batch and all layers."""

    def __call__(self, qkv: Tensor) -> Tensor:
        """(M, 3·D), the queries scaled already → (M, D), M ≥ sum of lengths. The rows beyond
        belong to no clip and become 0."""
        ...


def attention(
    lengths: Sequence[int], heads: int, alibi: Alibi | None, device: torch.device
) -> Attention:
    """The one for this device."""
    kind = PaddedAttention if device.type == "cuda" else ClipwiseAttention
    return kind(lengths, heads, alibi)


class ClipwiseAttention:
    """Clip by clip and some heads at a time, so that scores stay in the cache: on a CPU faster
    than PyTorch's fused kernel (1.2 to 1.8 times up to 10 s).

    A clip's rows are rounded up to a size that has a fast kernel, made once: it reads on into its
    neighbour's rows, without attending to them.
    """

    def __init__(self, lengths: Sequence[int], heads: int, alibi: Alibi | None) -> None:
        self._lengths = lengths
        self._heads = heads
        self._alibi = alibi

    def __call__(self, qkv: Tensor) -> Tensor:
        heads, width = self._heads, qkv.shape[1] // 3
        mixed = qkv.new_empty(len(qkv), heads, width // heads)
        start = 0
        for length in self._lengths:
            size = length + filler(length)
            clip = qkv[start : start + size].view(size, 3, heads, width // heads)
            q, k, v = clip.permute(1, 2, 0, 3).unbind()  # (heads, size, head dimension) each
            bias = None if self._alibi is None else self._alibi(size)
            together = max(1, SCORES // size**2)
            for first in range(0, heads, together):
                part = slice(first, first + together)
                keys = k[part].transpose(1, 2)
                if bias is None:
                    scores = torch.bmm(q[part], keys)
                else:
                    scores = torch.baddbmm(bias[part], q[part], keys)
                scores[:, :, length:] = -torch.inf
                found = torch.bmm(scores.softmax(-1), v[part]).transpose(0, 1)
                mixed[start : start + length, part] = found[:length]
            start += length
        mixed[start:] = 0
        return mixed.view(len(qkv), width)


class PaddedAttention:
    """Clips of like length side by side in PyTorch's fused kernel: few launches for a GPU."""

    def __init__(self, lengths: Sequence[int], heads: int, alibi: Alibi | None) -> None:
        self._heads = heads
        starts = torch.tensor([0, *lengths]).cumsum(0)
        self._groups = [
            Group(group, [int(starts[i]) for i in group], lengths, alibi)
            for group in like_lengths(lengths)
        ]

    def __call__(self, qkv: Tensor) -> Tensor:
        heads, width = self._heads, qkv.shape[1] // 3
        mixed = qkv.new_zeros(len(qkv), width)
        for group in self._groups:
            rows, heard, bias = group.on(qkv)
            clips = qkv[rows].view(*rows.shape, 3, heads, width // heads)
            q, k, v = clips.permute(2, 0, 3, 1, 4).unbind()  # (clips, heads, T, head dimension)
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
            mixed[rows[heard]] = found.transpose(1, 2).reshape(*rows.shape, width)[heard]
        return mixed


class Group:
    """Some clips of a batch, padded to the longest of them."""

    def __init__(
        self, clips: Sequence[int], starts: list[int], lengths: Sequence[int], alibi: Alibi | None
    ) -> None:
        self._starts = starts
        self._lengths = [lengths[i] for i in clips]
        self._alibi = alibi
        self._made: tuple[Tensor, Tensor, Tensor] | None = None

    def on(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (clips, T) of the packed batch, whether each is of its clip, and the bias
        (clips, heads or 1, T, T) with −∞ where there is nothing to attend to; made once."""
        if self._made is None:
            longest = max(self._lengths)
            place = torch.arange(longest, device=qkv.device)
            length = torch.tensor(self._lengths, device=qkv.device)[:, None]
            heard = place < length
            first = torch.tensor(self._starts, device=qkv.device)[:, None]
            rows = torch.where(heard, first + place, first)
            bias = qkv.new_zeros(1, 1, longest, longest)
            if self._alibi is not None:
                bias = self._alibi(longest)[None]
            bias = bias.masked_fill(~heard[:, None, None], float("-inf"))
            self._made = rows, heard, bias
        return self._made


def like_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of the lengths, in groups whose longest is at most LIKE times the shortest."""
    groups: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not groups or lengths[groups[-1][0]] > LIKE * lengths[position]:
            groups.append([])
        groups[-1].append(position)
    return groups
