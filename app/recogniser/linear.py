"""Linear layers, their weights laid out once for the processor that runs them."""

from __future__ import annotations

import abc
import dataclasses
import os
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# oneDNN keeps a kernel for every size of product that it met, 1024 by default, each of half a
# megabyte and in the way of the heap's larger pieces. A batch has some 25. (PyTorch's own
# cache of them goes by the second name.)
for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(cache, "64")

INT8_ROWS = 32  # at least, of an 8-bit product: on CUDA PyTorch refuses 16 and fewer


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """Where a network runs, and in which arithmetic its matrix products are."""

    device: torch.device
    dtype: torch.dtype  # float32 or bfloat16
    int8: bool = False  # the blocks' linear layers in 8-bit integers

    def block_linear(self, weight: Tensor, bias: Tensor) -> Linear:
        """A layer of a block: where nearly all of the work is."""
        return Int8Linear(weight, bias, self) if self.int8 else self.linear(weight, bias)

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Linear:
        """A layer of a checkpoint's `weight` (N, K) and `bias` (N,)."""
        if self.device.type == "cpu" and torch._C._has_mkldnn:
            return OneDnnLinear(weight, bias, self)
        return PlainLinear(weight, bias, self)

    def learned(self, tensor: Tensor) -> Tensor:
        """A checkpoint's norm or bias, which stays in float32."""
        return tensor.to(self.device, torch.float32, copy=True)


class Linear(Protocol):
    """x (M, K) → x·Wᵀ + b (M, N), the product in the placement's arithmetic.

    A layer keeps the checkpoint's weight until its first call. Then it rounds it, and takes what
    the rounding does to the mean row of that call's input out of the bias ("bias correction", Nagel
    et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019): an
    error common to all clips, and with bf16 weights the larger part of it.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """In the placement's dtype."""
        ...

    def gelu(self, x: Tensor) -> Tensor:
        """GELU of it (the exact one, by the error function), in the placement's dtype."""
        ...

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """It plus `residual` (M, N), in float32."""
        ...


def correct(weight: Tensor, bias: Tensor | None, rounded: Tensor, mean: Tensor) -> Tensor:
    """(N,) the bias for `rounded` in place of `weight`, for inputs of this `mean` (K,)."""
    lost = (weight.float() - rounded.float()) @ mean
    return lost if bias is None else bias.float() + lost


class Fitted(abc.ABC):
    """A layer that lays its weight out when it sees its first batch."""

    def __init__(self, weight: Tensor, bias: Tensor | None, on: Placement) -> None:
        self._on = on
        self._source: tuple[Tensor, Tensor | None] | None = (weight, bias)

    def _fit(self, x: Tensor) -> None:
        """Call before every use."""
        if self._source is not None:
            self._lay_out(*self._source, x.float().mean(0).cpu())
            self._source = None  # the checkpoint's memory

    @abc.abstractmethod
    def _lay_out(self, weight: Tensor, bias: Tensor | None, mean: Tensor) -> None:
        """Take what is kept of `weight` (N, K) and `bias`, for inputs of this `mean` (K,)."""


class PlainLinear(Fitted):
    """By PyTorch's own kernels: cuBLAS on a GPU."""

    def _lay_out(self, weight: Tensor, bias: Tensor | None, mean: Tensor) -> None:
        rounded = weight.to(self._on.dtype)
        self._bias = correct(weight, bias, rounded, mean).to(self._on.device, self._on.dtype)
        self._weight = rounded.to(self._on.device, copy=True)

    def __call__(self, x: Tensor) -> Tensor:
        self._fit(x)
        return F.linear(x.to(self._on.dtype), self._weight, self._bias)

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x) + residual


class OneDnnLinear(Fitted):
    """By oneDNN, the weight in its blocked layout, with GELU or the residual as its epilogue.

    These operators are what torch.compile makes of linear layers on a CPU. Against F.linear they
    save the reordering of the weight at every call (1.1 to 1.3 times as fast in bf16), and in
    fp32 they replace MKL, which has no AVX-512 path for AMD (2.4 times).
    """

    def _lay_out(self, weight: Tensor, bias: Tensor | None, mean: Tensor) -> None:
        rounded = weight.to(self._on.dtype, copy=True)
        self._bias = correct(weight, bias, rounded, mean).to(self._on.dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(rounded)

    def __call__(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "none")

    def gelu(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "gelu")

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        if self._on.dtype != torch.float32:  # the epilogue would round the residual
            return self(x).float().add_(residual)
        self._fit(x)
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self._weight, self._bias, "add"
        )
        return found

    def _pointwise(self, x: Tensor, epilogue: str) -> Tensor:
        self._fit(x)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self._on.dtype), self._weight, self._bias, epilogue, [], "none"
        )
        return found


class Int8Linear(Fitted):
    """In 8-bit integers: weights scaled by output channel, inputs by row, so that no clip's
    numbers depend on its neighbours ("dynamic quantisation")."""

    def _lay_out(self, weight: Tensor, bias: Tensor | None, mean: Tensor) -> None:
        scale = weight.float().abs().amax(1).clamp_min(1e-12) / 127  # (N,)
        integers = (weight.float() / scale[:, None]).round()
        self._bias = correct(weight, bias, integers * scale[:, None], mean).to(self._on.device)
        self._scale = scale.to(self._on.device)
        self._weight = integers.to(self._on.device, torch.int8).t()  # (K, N)

    def __call__(self, x: Tensor) -> Tensor:
        return self._product(x).to(self._on.dtype)

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        return self._product(x).add_(residual)

    def _product(self, x: Tensor) -> Tensor:
        """(M, N) float32."""
        self._fit(x)
        scale = x.abs().amax(1, keepdim=True).float().clamp_min(1e-12) / 127  # (M, 1)
        integers = (x / scale).round_().to(torch.int8)
        padded = F.pad(integers, (0, 0, 0, max(0, INT8_ROWS - len(x))))
        product = torch._int_mm(padded, self._weight)[: len(x)].float()
        return product.mul_(scale).mul_(self._scale).add_(self._bias)
