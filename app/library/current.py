"""One build of an index, as a search asks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.build import Engine
from index.contract import Hits
from index.cosine import directions
from index.gpu_search import GpuSearch

ONE_BY_ONE = 32  # clips: more are looked for together

State = Literal["ready", "building", "degraded"]


@dataclasses.dataclass(frozen=True, slots=True)
class Current:
    """One build of the index, and what was to be said of it when it was asked for."""

    index: Engine
    state: State
    build: int
    pending: int
    gpu: GpuSearch | None = None

    def directions(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What this build compares of embeddings (n, D); see index.contract."""
        return directions(embeddings, self.index.mean)

    def directions_of(self, clip_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The (D,) directions of those of the clips that it holds."""
        if len(clip_ids) > ONE_BY_ONE:
            ids, found = self.index.directions_of(np.array(clip_ids, np.int64))
            return dict(zip(ids.tolist(), found, strict=True))
        asked = ((clip_id, self.index.direction_of(clip_id)) for clip_id in clip_ids)
        return {clip_id: direction for clip_id, direction in asked if direction is not None}

    def search(
        self,
        asked: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.int64] | None = None,
        *,
        exact: bool = False,
    ) -> list[Hits]:
        """The k nearest of the allowed clips to each direction asked (q, D)."""
        if self.gpu is not None and allowed is None and not exact:
            found = self.gpu.search(self.index, asked, k)
            if found is not None:
                return found
        return self.index.search_directions(asked, k, allowed=allowed, exact=exact)
