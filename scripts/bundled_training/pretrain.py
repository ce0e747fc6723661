"""Teaching the network to hear: pitch and spectrum of every frame, statistics of every clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from funasr.models.emotion2vec.model import Emotion2vec
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from scripts.bundled_training import acoustics, augment, synthesis
from scripts.bundled_training.network import EMBED_DIM, frames_of

Array = NDArray[np.float32]

LENGTHS = (24_000, 32_000, 40_000, 52_000)  # samples of a synthesised clip: 1.5 to 3.25 s


@dataclass(frozen=True)
class Hearing:
    """Clips with their targets. Clips need not be equally long."""

    waveforms: list[Array]
    frames: list[Array]  # (T, BANDS + 2) each, see acoustics.frame_targets
    clips: Array  # (n, CLIP_TARGETS)


class Scale:
    """Mean and deviation of targets, so that each counts alike."""

    def __init__(self, hearing: Hearing) -> None:
        frames = np.concatenate(hearing.frames)
        self.frame_mean = torch.from_numpy(frames.mean(axis=0))
        self.frame_std = torch.from_numpy(frames.std(axis=0) + 1e-3)
        self.clip_mean = torch.from_numpy(hearing.clips.mean(axis=0))
        self.clip_std = torch.from_numpy(hearing.clips.std(axis=0) + 1e-3)


class Ears(nn.Module):
    """The heads that read the targets off the network; thrown away after training."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Linear(EMBED_DIM, acoustics.BANDS + 2)
        self.clip = nn.Linear(EMBED_DIM, acoustics.CLIP_TARGETS)

    def loss(self, features: Tensor, frames: Tensor, clips: Tensor, scale: Scale) -> Tensor:
        """Of (B, T, EMBED_DIM) features against (B, T, BANDS + 2) and (B, CLIP_TARGETS)."""
        bands = acoustics.BANDS
        heard = self.frame(features)
        wanted = (frames - scale.frame_mean) / scale.frame_std
        voiced = frames[..., -1]
        spectrum = functional.mse_loss(heard[..., :bands], wanted[..., :bands])
        octaves = functional.smooth_l1_loss(
            heard[..., bands], frames[..., bands], reduction="none", beta=0.1
        )
        pitch = (octaves * voiced).sum() / (voiced.sum() + 1.0)
        voicing = functional.binary_cross_entropy_with_logits(heard[..., -1], voiced)
        return (
            spectrum
            + 3.0 * pitch
            + 0.5 * voicing
            + self.clip_loss(features.mean(dim=1), clips, scale)
        )

    def clip_loss(self, embeddings: Tensor, clips: Tensor, scale: Scale) -> Tensor:
        """Of (B, EMBED_DIM) embeddings; prosody, few numbers, counts as much as the rest."""
        wanted = ((clips - scale.clip_mean) / scale.clip_std).clamp(-4.0, 4.0)
        error = functional.smooth_l1_loss(self.clip(embeddings), wanted, reduction="none")
        prosody = error[:, : acoustics.PROSODY].mean()
        return 2.0 * prosody + 2.0 * error[:, acoustics.PROSODY :].mean()


def synthesised(count: int, seed: int) -> Hearing:
    """`count` clips made by rule. Pitch and voicing are those they were made with."""
    waveforms, frames, clips = [], [], []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        made = synthesis.utterance(rng, LENGTHS[number % len(LENGTHS)])
        analysis = acoustics.analyse(made.waveform)
        target = acoustics.frame_targets(analysis, len(made.waveform))
        target[:, -2], target[:, -1] = made.octaves, made.voiced
        waveforms.append(made.waveform)
        frames.append(target)
        clips.append(acoustics.clip_targets(analysis))
    return Hearing(waveforms, frames, np.stack(clips))


def parameter_groups(model: nn.Module, rate: float, decay: float) -> list[dict[str, object]]:
    """No decay on biases, norms and scales; a small rate for the first, tiny filters."""
    groups: dict[str, list[nn.Parameter]] = {"filters": [], "plain": [], "decayed": []}
    for name, parameter in model.named_parameters():
        if name.endswith("local_encoder.conv_layers.0.0.weight"):
            groups["filters"].append(parameter)
        elif parameter.dim() < 2 or "alibi" in name or "extra_tokens" in name:
            groups["plain"].append(parameter)
        else:
            groups["decayed"].append(parameter)
    return [
        {"params": groups["filters"], "lr": 0.01 * rate, "weight_decay": 0.0},
        {"params": groups["plain"], "lr": rate, "weight_decay": 0.0},
        {"params": groups["decayed"], "lr": rate, "weight_decay": decay},
    ]


def schedule(step: int, steps: int) -> float:
    """Share of the rate at a step: up over the first 5 %, then down a half cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def pretrain(model: Emotion2vec, hearing: Hearing, steps: int, batch: int, seed: int) -> Ears:
    """Train `model` in place on synthesised clips and return the heads."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    ears, scale = Ears(), Scale(hearing)
    groups = parameter_groups(model, 1e-3, 0.02) + parameter_groups(ears, 2e-3, 0.0)
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98))
    warmth = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, steps))
    lengths = np.array([len(waveform) for waveform in hearing.waveforms])
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # there is no end of synthesised speech to overfit
    for step in range(steps):
        alike = np.flatnonzero(lengths == rng.choice(lengths))
        chosen = rng.choice(alike, size=min(batch, len(alike)), replace=False)
        waveforms = torch.from_numpy(np.stack([hearing.waveforms[k] for k in chosen]))
        frames = torch.from_numpy(np.stack([hearing.frames[k] for k in chosen]))
        clips = torch.from_numpy(hearing.clips[chosen])
        with torch.autocast("cpu", torch.bfloat16):
            features = frames_of(model, augment.degrade(waveforms, generator))
        loss = ears.loss(features.float(), frames, clips, scale)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        warmth.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"pretraining step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return ears
