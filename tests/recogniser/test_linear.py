"""Linear layers, each by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.recogniser.linear import Int8Linear, Placement


def test_int8_takes_any_number_of_rows_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, which takes any: its product is made to refuse what CUDA's does."""
    torch.manual_seed(0)
    weight, bias, x = torch.randn(24, 64), torch.randn(24), torch.randn(40, 64)
    layer = Int8Linear(weight, bias, Placement(torch.device("cpu"), torch.float32, int8=True))
    expected = layer(x)
    product = torch._int_mm

    def as_on_cuda(a: Tensor, b: Tensor) -> Tensor:
        assert a.shape[0] > 16
        assert a.shape[1] % 8 == b.shape[1] % 8 == 0
        return product(a, b)

    monkeypatch.setattr(torch, "_int_mm", as_on_cuda)
    for rows in (1, 8, 15, 16, 17, 31, 32, 33, 40):
        assert torch.equal(layer(x[:rows]), expected[:rows])
        assert torch.equal(layer.add(x[:rows], torch.zeros(rows, 24)), expected[:rows])
