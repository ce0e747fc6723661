"""Whether the mean that the index removes is still the library's."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.store import Store, embeddings
from index.build import Engine
from index.mean import CHANCE, DRIFT, drift

SAMPLE: Final = 8192  # embeddings that the mean of today is taken from
SHARE: Final = 0.1  # of a library that has to change before its mean is taken anew
STEP: Final = 0.01  # of it that has to change, after that, before it is looked at again

log = logging.getLogger(__name__)


class MeanWatch:
    """Counts the clips that came and went since a build and, when they are many, compares its mean
    with that of a sample of what is stored.

    Nothing is done for a clip, and nothing but the count has to survive a restart.

    Args:
        prior: (D,) the mean assumed before any clip is stored.
    """

    def __init__(self, store: Store, model_row: int, prior: NDArray[np.float32]) -> None:
        self._store = store
        self._model_row = model_row
        self._prior = prior
        self._seen = 0  # changes when it was looked last, and had not drifted
        self.changed = 0  # clips added or removed since the build

    def begin(self, changed: int) -> None:
        """Of another build, since which so many clips were added or removed."""
        self.changed, self._seen = changed, 0

    def has_drifted(self, index: Engine) -> bool:
        """Whether the mean has moved so far that another one gives other answers.

        Raises:
            Unavailable: the store does not answer.
        """
        size, changed = len(index), self.changed
        if changed < max(1, SHARE * size) or changed - self._seen < STEP * size:
            return False
        ids = index.ids()
        sample = self._sample(ids)
        if not len(sample):
            return False
        found = drift(index.mean, sample, len(ids), self._prior)
        if found <= DRIFT + CHANCE / len(ids):
            self._seen = changed
            return False
        log.info("The mean of the clips has drifted by %.4f.", found)
        return True

    def _sample(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """(s, D), the embeddings of a clip drawn from each of SAMPLE equal stretches of the ids:
        those of every time are there in their share, whatever returns in a rhythm."""
        if len(ids) > SAMPLE:
            at = np.arange(SAMPLE) + np.random.default_rng().random(SAMPLE)
            ids = ids[(at * (len(ids) / SAMPLE)).astype(np.int64)]
        with self._store.read() as session:
            found = [each for _, each in embeddings.stream(session, self._model_row, ids)]
        vectors = np.concatenate([np.empty((0, len(self._prior)), np.float32), *found])
        finite: NDArray[np.bool_] = np.isfinite(vectors).all(axis=1)
        return vectors[finite]
