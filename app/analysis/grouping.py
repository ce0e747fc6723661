"""What is asked of a grouping of clips, and what it answers."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from app.analysis.profiles import Profile

Algorithm = Literal["hdbscan", "kmeans"]

FEWEST: Final = 20  # clips that clusters can be made of
MOST_CLUSTERS: Final = 200  # that may be asked of k-means
SAMPLE: Final = 20_000  # clips, at most, that the features are fitted to


class TooFew(ValueError):
    """Clips, for what was asked."""

    def __init__(self, count: int, wanted: int) -> None:
        super().__init__(f"{count} clips with embeddings match; at least {wanted} are needed.")
        self.count, self.wanted = count, wanted


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done."""

    algorithm: Algorithm
    n_clusters: int | None  # of k-means; None: chosen
    seed: int
    now: int  # microseconds since 1970; later weeks are no part of trends
    before: int | None = None  # clusters of an earlier run by k-means, whose k was chosen

    @property
    def fewest(self) -> int:
        """Clips that it can be done with."""
        return max(FEWEST, self.n_clusters or 0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """All that is found of n clips in k clusters, by falling size. Rows are in the order in which
    the clips came."""

    names: tuple[str, ...]  # (k,)
    profiles: tuple[Profile, ...]  # (k,)
    outliers: int
    silhouette: float | None  # mean of a sample of the clustered clips; None with fewer than two
    parameters: dict[str, Any]  # of the algorithm, and how they were chosen
    labels: NDArray[np.int32]  # (n,) cluster, or facts.NONE
    centres: NDArray[np.float32]  # (k, D + 9) as `Features.embeddings_of` has them
    scales: NDArray[np.float32]  # (D + 9,) by which their differences become those of features
    map_rows: NDArray[np.int64]  # (m,) ascending
    map_xy: NDArray[np.float32]  # (m, 2)


ARRAYS: Final = ("labels", "centres", "scales", "map_rows", "map_xy")  # of a Grouping


def chosen_rows(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Ascending rows (min(count, most),) of `count`, drawn by the seed."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
