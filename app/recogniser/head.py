"""Logits → emotion scores in the order of LABELS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain import LABELS


def emotion_scores(logits: torch.Tensor, columns: Sequence[int | None]) -> NDArray[np.float32]:
    """Softmax over the labels in use: (…, columns) logits → (…, 9) in LABELS order.

    Args:
        columns: the LABELS position of each logit, None for one that the model does not use.
    """
    used = {i: column for i, column in enumerate(columns) if column is not None}
    probabilities = torch.softmax(logits[..., list(used)].double(), dim=-1).cpu().numpy()
    scores = np.zeros((*logits.shape[:-1], len(LABELS)), np.float32)
    scores[..., list(used.values())] = probabilities
    return scores
