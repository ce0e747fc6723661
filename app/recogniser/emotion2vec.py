"""emotion2vec for inference: waveforms of any lengths in, frame embeddings out.

The network of Ma et al., "emotion2vec: Self-Supervised Pre-Training for Speech Emotion
Representation" (2023), with the data2vec 2.0 encoder it builds on (Baevski et al., 2022).

A batch is packed, not padded: what works on samples or frames one by one (convolutions, norms,
linear layers) runs over the waveforms laid end to end, and only attention and the positional
convolutions know where a waveform ends. No clip's numbers depend on its neighbours, and
little is computed for nothing: a frame a clip at a seam of the front end, the gaps between clips in
the positional convolutions, and at most 30 rows a batch that round its size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from app.domain import HOP, WINDOW, frame_count
from app.recogniser.alibi import Alibi
from app.recogniser.architecture import Architecture
from app.recogniser.attention import Attention, attention, beyond, filler
from app.recogniser.checkpoint import Weights
from app.recogniser.linear import Placement

NORM_EPS = 1e-5  # of every layer norm that config.yaml has no say in
LARGE_DIMENSION = 512  # a network of at least this many is large
EXACT_HOP = 80  # samples between a convolution's outputs from which it stays in float32
CPU_FRAMES = 64  # convolved at a time, so that the layers' outputs stay in the cache
CUDA_FRAMES = 2048  # the same on a GPU: some 1 GB of outputs


class Norm:
    """Layer norm over the last axis, in float32."""

    def __init__(self, weights: Weights, size: int, eps: float, on: Placement) -> None:
        self._shape = (size,)
        self._eps = eps
        self._weight = on.learned(weights.take("weight", size))
        self._bias = on.learned(weights.take("bias", size))

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self._shape, self._weight, self._bias, self._eps)


class Convolution:
    """A convolution without padding as a matrix product over its windows, then norm and GELU."""

    def __init__(
        self, weights: Weights, inputs: int, outputs: int, kernel: int, stride: int, on: Placement
    ) -> None:
        weight = weights["0"].take("weight", outputs, inputs, kernel)
        self._linear = on.linear(weight.transpose(1, 2).reshape(outputs, kernel * inputs))
        self._norm = Norm(weights["2.1"], outputs, NORM_EPS, on)
        self._window = kernel * inputs
        self._step = stride * inputs
        self._dtype = on.dtype

    def __call__(self, x: Tensor) -> Tensor:
        """(L, inputs) → (floor((L − kernel) / stride) + 1, outputs)."""
        windows = x.to(self._dtype).view(-1).unfold(0, self._window, self._step)
        return F.gelu(self._norm(self._linear(windows.contiguous())))


class FrontEnd:
    """Samples → D-dimensional features, one every HOP samples, each from WINDOW samples.

    Its first layer and its slow ones stay in float32: 3 % of the work, most of the error.
    """

    def __init__(self, weights: Weights, architecture: Architecture, on: Placement) -> None:
        layers = weights["local_encoder.conv_layers"]
        self._convolutions = []
        exact = dataclasses.replace(on, dtype=torch.float32)
        inputs, hop = 1, 1
        for number, (outputs, kernel, stride) in enumerate(architecture.convolutions):
            hop *= stride
            where = exact if inputs == 1 or hop >= EXACT_HOP else on
            self._convolutions.append(
                Convolution(layers[str(number)], inputs, outputs, kernel, stride, where)
            )
            inputs = outputs
        project = weights["project_features"]
        self._norm = Norm(project["1"], inputs, NORM_EPS, on)
        self._project = exact.linear(
            project["2"].take("weight", architecture.dimension, inputs),
            project["2"].take("bias", architecture.dimension),
        )

    def __call__(self, samples: Tensor) -> Tensor:
        """(N,) → (frame_count(N), D)."""
        frames = frame_count(len(samples))
        features = []
        at_once = CUDA_FRAMES if samples.is_cuda else CPU_FRAMES
        for start in range(0, frames, at_once):
            stop = min(start + at_once, frames)
            x = samples[start * HOP : (stop - 1) * HOP + WINDOW]
            for convolve in self._convolutions:
                x = convolve(x)
            features.append(self._project(self._norm(x)))
        return torch.cat(features)


class PositionalConvolution:
    """A grouped convolution over time."""

    def __init__(self, weights: Weights, architecture: Architecture, on: Placement) -> None:
        d, kernel = architecture.dimension, architecture.position_kernel
        self._groups = architecture.position_groups
        self._padding = (0, 0, kernel // 2, kernel - 1 - kernel // 2)
        weight = on.learned(weights.take("weight", d, d // self._groups, kernel))
        self._weight = weight[:, :, None].contiguous(memory_format=torch.channels_last)
        self._bias = on.learned(weights.take("bias", d))

    def __call__(self, y: Tensor) -> Tensor:
        """(T, D) → the same shape: convolution, norm without parameters, GELU."""
        image = F.pad(y, self._padding).t()[None, :, None]
        y = F.conv2d(image, self._weight, self._bias, groups=self._groups)[0, :, 0].t()
        return F.gelu(F.layer_norm(y, y.shape[1:], eps=NORM_EPS))


class PositionalConvolutions:
    """A stack of them whose output is added to their input.

    In float32 wherever the rest is bf16: 3 % of the work, and much of the error otherwise.
    """

    def __init__(self, weights: Weights, architecture: Architecture, on: Placement) -> None:
        self._gap = architecture.position_kernel // 2
        stack = weights["relative_positional_encoder"]
        self._layers = [
            PositionalConvolution(stack[f"{number}.0"], architecture, on)
            for number in range(1, architecture.position_depth + 1)
        ]

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """(sum of lengths, D) → the same shape; no clip sees another."""
        gap = x.new_zeros(self._gap, x.shape[1])
        runs = [n for length in lengths for n in (length, self._gap)]
        runs[-1] += filler(sum(runs))
        pieces = [piece for clip in torch.split(x, list(lengths)) for piece in (clip, gap)]
        pieces[-1] = x.new_zeros(runs[-1], x.shape[1])
        y = torch.cat(pieces)
        silent = torch.zeros(len(y), 1, dtype=torch.bool, device=y.device)
        for between in torch.split(silent, runs)[1::2]:
            between.fill_(True)
        for convolve in self._layers:
            # Zero before every layer; not by a product, which a clip of NaN would spoil.
            y = convolve(y).masked_fill_(silent, 0.0)
        return x + torch.cat(torch.split(y, runs)[::2])


class Block:
    """Self-attention and a feed-forward layer, each with its residual and then its norm."""

    def __init__(self, weights: Weights, architecture: Architecture, on: Placement) -> None:
        d, hidden = architecture.dimension, architecture.hidden
        attn, mlp = weights["attn"], weights["mlp"]
        scale = torch.ones(3 * d, 1)
        scale[:d] = (d // architecture.heads) ** -0.5  # of the queries, here once for all
        self._qkv = on.block_linear(
            attn["qkv"].take("weight", 3 * d, d).float() * scale,
            attn["qkv"].take("bias", 3 * d).float() * scale[:, 0],
        )
        self._out = on.block_linear(attn["proj"].take("weight", d, d), attn["proj"].take("bias", d))
        self._norm1 = Norm(weights["norm1"], d, architecture.norm_eps, on)
        self._fc1 = on.block_linear(
            mlp["fc1"].take("weight", hidden, d), mlp["fc1"].take("bias", hidden)
        )
        self._fc2 = on.block_linear(
            mlp["fc2"].take("weight", d, hidden), mlp["fc2"].take("bias", d)
        )
        self._norm2 = Norm(weights["norm2"], d, architecture.norm_eps, on)

    def __call__(self, x: Tensor, attend: Attention) -> Tensor:
        """(sum of lengths, D) → the same shape."""
        x = self._norm1(self._out.add(attend(self._qkv(x)), x))
        return self._norm2(self._fc2.add(self._fc1.gelu(x), x))


class Emotion2vec:
    """The encoder and its head.

    Raises:
        ModelError: the checkpoint lacks a weight, or has it in another shape.
    """

    def __init__(self, architecture: Architecture, weights: Weights, on: Placement) -> None:
        d, extra = architecture.dimension, architecture.extra_tokens
        audio = weights["modality_encoders.AUDIO"]
        self._on = on
        self._normalize = architecture.normalize
        self._heads = architecture.heads
        self._front_end = FrontEnd(audio, architecture, on)
        self._positions = PositionalConvolutions(audio, architecture, on)
        self._extra = on.learned(audio.take("extra_tokens", 1, extra, d)[0]) if extra else None
        self._alibi = Alibi.of(audio, architecture, on)
        self._norm = Norm(audio["context_encoder.norm"], d, architecture.norm_eps, on)
        self._blocks = [
            Block(weights[f"{prefix}blocks"][str(number)], architecture, on)
            for prefix, depth in (
                ("modality_encoders.AUDIO.context_encoder.", architecture.prenet_depth),
                ("", architecture.depth),
            )
            for number in range(depth)
        ]
        head = weights["proj"]
        self._head_weight = on.learned(head.take("weight", architecture.outputs, d))
        self._head_bias = on.learned(head.take("bias", architecture.outputs))

    @torch.inference_mode()
    def __call__(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Waveforms (Nᵢ,) float32, Nᵢ ≥ WINDOW → frame embeddings (frame_count(Nᵢ), D) float32."""
        lengths = [frame_count(len(waveform)) for waveform in waveforms]
        x = self._features(waveforms, lengths)
        x = self._positions(x, lengths)
        extra = 0 if self._extra is None else len(self._extra)
        tokens = [extra + length for length in lengths]
        pieces = [
            p for clip in torch.split(x, lengths) for p in (self._extra, clip) if p is not None
        ]
        x = self._norm(torch.cat([*pieces, x.new_zeros(beyond(tokens), x.shape[1])]))
        attend = attention(tokens, self._heads, self._alibi, self._on.device)
        for block in self._blocks:
            x = block(x, attend)
        return [clip[extra:] for clip in torch.split(x[: sum(tokens)], tokens)]

    @torch.inference_mode()
    def logits(self, embeddings: Tensor) -> Tensor:
        """(…, D) float32 → (…, outputs)."""
        return F.linear(embeddings, self._head_weight, self._head_bias)

    def _features(self, waveforms: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        """(sum of lengths, D), the front end over all waveforms end to end."""
        slots = [length + 1 for length in lengths]  # a waveform's last window ends 80 samples late
        frames = sum(slots) + filler(sum(slots))
        signal = torch.zeros((frames - 1) * HOP + WINDOW, device=self._on.device)
        start = 0
        for waveform, length, slot in zip(waveforms, lengths, slots, strict=True):
            samples = waveform.to(self._on.device, non_blocking=True)
            if self._normalize:
                samples = F.layer_norm(samples, samples.shape, eps=NORM_EPS)
            heard = (length - 1) * HOP + WINDOW
            signal[start : start + heard] = samples[:heard]
            start += slot * HOP
        x = self._front_end(signal)
        if len(lengths) == 1:
            return x[: lengths[0]]
        pieces, start = [], 0
        for length, slot in zip(lengths, slots, strict=True):
            pieces.append(x[start : start + length])
            start += slot
        return torch.cat(pieces)
