"""Whether a model directory can be served, told without serving it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from app.domain import LABELS
from app.recogniser import funasr_runtime, model_dir


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What a directory that fits together holds. `labels` follow its logits; None is unused."""

    dimension: int
    parameters: int
    labels: tuple[str | None, ...]
    digest: str  # of the fp32 class


def check(directory: Path) -> Checked:
    """Read config, tokens and weights, and check them against each other.

    Raises:
        ModelError: they do not fit; the message names the file, and the key or shape.
    """
    read = model_dir.read(directory)
    model = funasr_runtime._build(read)
    return Checked(
        dimension=read.dimension,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        labels=tuple(None if column is None else LABELS[column] for column in read.columns),
        digest=read.digest("fp32"),
    )
