"""Whether a model directory can be served, told without serving it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from app.domain import LABELS
from app.recogniser import model_dir
from app.recogniser.architecture import Architecture
from app.recogniser.checkpoint import read_weights
from app.recogniser.emotion2vec import Emotion2vec
from app.recogniser.linear import Placement


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What a directory that fits together holds. `labels` follow its logits; None is unused."""

    dimension: int
    parameters: int
    labels: tuple[str | None, ...]
    digests: dict[str, str]  # as databases record them, by arithmetic


def check(directory: Path) -> Checked:
    """Read config, tokens and weights, and check them against each other.

    Raises:
        ModelError: they do not fit; the message names the file, and the key or shape.
    """
    read = model_dir.read(directory)
    weights = read_weights(read.weights)
    Emotion2vec(Architecture.of(read), weights, Placement(torch.device("cpu"), torch.float32))
    return Checked(
        dimension=read.dimension,
        parameters=sum(weights.taken.values()),
        labels=tuple(None if column is None else LABELS[column] for column in read.columns),
        digests={dtype: read.digest(dtype) for dtype in model_dir.ARITHMETICS},
    )
