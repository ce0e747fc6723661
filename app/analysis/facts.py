"""What is known of clips beside their embeddings, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

NONE = -1  # an emotion, customer or agent that is not known


class Facts(NamedTuple):
    """Of n clips, in one order."""

    scores: NDArray[np.float32]  # (n, 9) in LABELS order; NaN where there are none
    emotions: NDArray[np.int8]  # (n,) places in LABELS, or NONE
    confidences: NDArray[np.float32]  # (n,), NaN where there is none
    instants: NDArray[np.int64]  # (n,) recorded, else stored: microseconds since 1970 UTC
    customers: NDArray[np.int32]  # (n,) a number for each, or NONE
    agents: NDArray[np.int32]  # (n,) likewise

    def at(self, rows: slice) -> Facts:
        """Of some of the clips."""
        return Facts(
            self.scores[rows],
            self.emotions[rows],
            self.confidences[rows],
            self.instants[rows],
            self.customers[rows],
            self.agents[rows],
        )

    @classmethod
    def joined(cls, pages: Sequence[Self]) -> Self:
        """The pages, one or more, behind each other."""
        return cls._make(np.concatenate(columns) for columns in zip(*pages, strict=True))
