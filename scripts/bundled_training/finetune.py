"""Teaching emotion to a network that can hear, on the clips of the training speakers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from funasr.models.emotion2vec.model import Emotion2vec
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from app.domain import HOP, LABELS, WINDOW, frame_count
from scripts.bundled_training import augment
from scripts.bundled_training.corpus import Lesson, Take
from scripts.bundled_training.network import EMBED_DIM, frames_of
from scripts.bundled_training.pretrain import Ears, Hearing, Scale, parameter_groups, schedule

Array = NDArray[np.float32]

LONGEST = 48_000  # samples of a training clip, 3 s: longer ones are cropped at random


@dataclass(frozen=True)
class Recipe:
    """The settings of the second stage."""

    steps: int = 500
    batch: int = 32
    rate: float = 4e-4
    decay: float = 0.05
    recorded: float = 0.35  # share of clips heard as recorded, the rest in another voice
    hearing: float = 0.5  # weight of the regression targets
    contrast: float = 0.2  # weight of the supervised contrastive term
    temperature: float = 0.15
    smoothing: float = 0.1  # over the labels that occur
    dropout: float = 0.2  # on the embedding, before the head
    mixing: float = 0.4  # Beta(a, a) of mixup between embeddings; 0 for none
    degraded: float = 0.5  # see augment.degrade
    average: float = 0.995  # decay of the running mean of the weights


def batches(
    heard: Sequence[Lesson], recipe: Recipe, rng: np.random.Generator
) -> Iterator[list[tuple[int, Take]]]:
    """Endless batches of like length, the labels drawn more evenly than they occur."""
    labels = np.array([lesson.label for lesson in heard])
    share = 1.0 / np.sqrt(np.bincount(labels, minlength=len(LABELS))[labels])
    share /= share.sum()
    while True:
        chosen = rng.choice(len(heard), size=recipe.batch * 4, p=share)
        drawn = []
        for k in chosen:
            takes = heard[k].takes
            other = len(takes) > 1 and rng.random() > recipe.recorded
            drawn.append((heard[k].label, takes[rng.integers(1, len(takes)) if other else 0]))
        drawn.sort(key=lambda pair: len(pair[1].waveform) * rng.uniform(0.93, 1.07))
        for start in rng.permutation(4):
            yield drawn[start * recipe.batch : (start + 1) * recipe.batch]


def collate(
    batch: Sequence[tuple[int, Take]], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Crop to the shortest: waveforms (B, N), frame and clip targets, labels (B,)."""
    frames = frame_count(min(LONGEST, *(len(take.waveform) for _, take in batch)))
    samples = (frames - 1) * HOP + WINDOW
    waveforms, targets = [], []
    for _, take in batch:
        first = int(rng.integers(0, len(take.frames) - frames + 1))
        waveforms.append(take.waveform[first * HOP : first * HOP + samples])
        targets.append(take.frames[first : first + frames])
    return (
        torch.from_numpy(np.stack(waveforms)),
        torch.from_numpy(np.stack(targets)),
        torch.from_numpy(np.stack([take.statistics for _, take in batch])),
        torch.tensor([label for label, _ in batch]),
    )


def targets_of(labels: Tensor, occurring: Tensor, smoothing: float) -> Tensor:
    """(B, 9) probabilities: one hot, smoothed over the labels that occur and no others."""
    hot = functional.one_hot(labels, len(LABELS)).float()
    return (1.0 - smoothing) * hot + smoothing * occurring / occurring.sum()


def contrastive(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al., 2020) on cosines less the batch's mean."""
    near = functional.normalize(embeddings - embeddings.mean(dim=0), dim=1)
    alone = torch.eye(len(labels), dtype=torch.bool)
    similarity = (near @ near.T / temperature).masked_fill(alone, -1e9)
    log_share = similarity - similarity.logsumexp(dim=1, keepdim=True)
    same = (labels[:, None] == labels[None, :]) & ~alone
    count = same.sum(dim=1)
    of_each = -(log_share * same).sum(dim=1) / count.clamp_min(1)
    return of_each[count > 0].mean() if bool((count > 0).any()) else embeddings.sum() * 0.0


def finetune(
    model: Emotion2vec, ears: Ears, heard: Sequence[Lesson], recipe: Recipe, seed: int
) -> None:
    """Train `model` in place; it ends with the running mean of its weights."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    recordings = [lesson.takes[0] for lesson in heard]
    scale = Scale(
        Hearing(
            [take.waveform for take in recordings],
            [take.frames for take in recordings],
            np.stack([take.statistics for take in recordings]),
        )
    )
    occurring = torch.zeros(len(LABELS))
    occurring[[lesson.label for lesson in heard]] = 1.0
    groups = parameter_groups(model, recipe.rate, recipe.decay) + parameter_groups(
        ears, recipe.rate, 0.0
    )
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98))
    warmth = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, recipe.steps))
    mean = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.train()
    source = batches(heard, recipe, rng)
    for step in range(recipe.steps):
        waveforms, frames, statistics, labels = collate(next(source), rng)
        with torch.autocast("cpu", torch.bfloat16):
            features = frames_of(
                model, augment.degrade(waveforms, generator, recipe.degraded)
            ).float()
        embeddings = features.mean(dim=1)
        wanted = targets_of(labels, occurring, recipe.smoothing)
        mixed = embeddings
        if recipe.mixing > 0:
            share = float(rng.beta(recipe.mixing, recipe.mixing))
            partner = torch.randperm(len(labels), generator=generator)
            mixed = share * embeddings + (1.0 - share) * embeddings[partner]
            wanted = share * wanted + (1.0 - share) * wanted[partner]
        logits = model.proj(functional.dropout(mixed, recipe.dropout))
        loss = functional.cross_entropy(logits, wanted)
        told = loss.item()
        loss = loss + recipe.hearing * ears.loss(features, frames, statistics, scale)
        loss = loss + recipe.contrast * contrastive(embeddings, labels, recipe.temperature)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        warmth.step()
        keep = min(recipe.average, (step + 1) / (step + 10))
        for name, value in model.state_dict().items():
            mean[name].lerp_(value, 1.0 - keep)
        if step % 100 == 0 or step == recipe.steps - 1:
            print(f"emotion step {step}: cross entropy {told:.3f} of {loss.item():.3f}", flush=True)
    model.load_state_dict(mean)
    model.eval()


def recognise(model: Emotion2vec, waveforms: Sequence[Array]) -> tuple[Array, Array]:
    """Embeddings (n, EMBED_DIM) and scores (n, 9) of whole clips, one by one, in fp32."""
    model.eval()
    embeddings = np.empty((len(waveforms), EMBED_DIM), dtype=np.float32)
    scores = np.empty((len(waveforms), len(LABELS)), dtype=np.float32)
    with torch.inference_mode():
        for k, waveform in enumerate(waveforms):
            embedding = frames_of(model, torch.from_numpy(waveform)[None]).mean(dim=1)
            embeddings[k] = embedding[0].numpy()
            scores[k] = torch.softmax(model.proj(embedding), dim=-1)[0].numpy()
    return embeddings, scores
