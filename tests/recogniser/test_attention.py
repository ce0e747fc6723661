"""Attention over packed batches against the plain formula, clip by clip."""

from __future__ import annotations

import pytest
import torch

from app.recogniser.alibi import Alibi
from app.recogniser.attention import (
    ROWS,
    ClipwiseAttention,
    PaddedAttention,
    beyond,
    filler,
)
from app.recogniser.linear import Placement

HEADS, WIDTH, EXTRA = 4, 8, 3
BATCHES = [[1], [16], [17, 16, 1], [200, 33, 199, 5], [40] * 7, [1, 1, 1]]


def alibi() -> Alibi:
    on = Placement(torch.device("cpu"), torch.float32)
    return Alibi(torch.tensor([0.5, 0.25, 0.1, 0.0]), EXTRA, on)


def plain(qkv: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """One clip's (T, 3·D) → (T, D), in float64."""
    q, k, v = qkv.double().view(len(qkv), 3, HEADS, WIDTH).permute(1, 2, 0, 3)
    scores = q @ k.transpose(1, 2)
    if bias is not None:
        scores = scores + bias
    attended: torch.Tensor = (scores.softmax(-1) @ v).transpose(0, 1)
    return attended.reshape(len(qkv), HEADS * WIDTH)


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
def test_there_are_rows_to_read_on_into(lengths: list[int]) -> None:
    total = sum(lengths) + beyond(lengths)
    assert total % ROWS == 0
    end = 0
    for length in lengths:
        end += length
        assert (length + filler(length)) % ROWS == 0
        assert end + filler(length) <= total


@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "ALiBi"])
@pytest.mark.parametrize("kind", [ClipwiseAttention, PaddedAttention])
@pytest.mark.parametrize("lengths", BATCHES, ids=str)
def test_every_clip_attends_to_itself_alone(
    lengths: list[int], kind: type[ClipwiseAttention | PaddedAttention], biased: bool
) -> None:
    bias = alibi() if biased else None
    rows = sum(lengths) + beyond(lengths)
    random = torch.Generator().manual_seed(0)
    qkv = torch.randn(rows, 3 * HEADS * WIDTH, generator=random)
    qkv[sum(lengths) :] *= 1e4  # rows of no clip
    attended = kind(lengths, HEADS, bias)(qkv)
    start = 0
    for length in lengths:
        expected = plain(qkv[start : start + length], None if bias is None else bias(length))
        torch.testing.assert_close(
            attended[start : start + length].double(), expected, rtol=1e-4, atol=1e-5
        )
        start += length
    assert not attended[start:].any()
