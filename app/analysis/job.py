"""One grouping of clips from beginning to end: pages of embeddings in, everything told out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.analysis.clustering import cluster
from app.analysis.facts import NONE, Facts
from app.analysis.features import SCORE_SHARE, Features
from app.analysis.grouping import FEWEST, Asked, Grouping, TooFew
from app.analysis.naming import names
from app.analysis.profiles import centres, profiles
from app.analysis.projection import project

Vectors = NDArray[np.float32]


class Grouper:
    """Takes the clips page by page, keeps their features and nothing of size (n, D).

    Args:
        vectors, scores: (s, D) and (s, 9) of a sample of the clips, which the axes come from.

    Raises:
        TooFew
    """

    def __init__(self, asked: Asked, vectors: Vectors, scores: Vectors) -> None:
        if len(vectors) < FEWEST:
            raise TooFew(len(vectors), FEWEST)
        # HDBSCAN looks for gaps, which scores have wherever the model is sure.
        share = SCORE_SHARE if asked.algorithm == "hdbscan" else None
        self._asked = asked
        self._space = Features.fit(vectors, scores, share)
        self._features: list[Vectors] = []
        self._facts: list[Facts] = []

    def add(self, vectors: Vectors, facts: Facts) -> None:
        """A page of the clips: embeddings (n, D) and what else is known of them."""
        self._features.append(self._space(vectors, facts.scores))
        self._facts.append(facts)

    def group(self, tell: Callable[[str], None]) -> Grouping:
        """Group all that was added, once. `tell` is called with each step that begins.

        Raises:
            TooFew
        """
        asked, count = self._asked, sum(map(len, self._features))
        if count < asked.fewest:
            raise TooFew(count, asked.fewest)
        features = np.concatenate(self._features)
        facts = Facts.joined(self._facts)
        self._features.clear()
        self._facts.clear()
        tell("clusters")
        found = cluster(features, asked.algorithm, asked.n_clusters, asked.seed, asked.before)
        tell("profiles")
        told = profiles(
            features, self._space.directions_of(features), facts, found.labels, asked.now
        )
        middles = self._space.embeddings_of(centres(features, found.labels))
        tell("map")
        rows, xy = project(features, asked.seed)
        return Grouping(
            names=tuple(names(told)),
            profiles=tuple(told),
            outliers=int((found.labels == NONE).sum()),
            silhouette=found.silhouette,
            parameters=found.parameters,
            labels=found.labels,
            centres=middles,
            scales=self._space.scales,
            map_rows=rows,
            map_xy=xy,
        )
