"""What the store says a model's index should hold, and an index made to hold it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from app.store import Store, embeddings
from index.build import Engine

PAGE = 4096  # embeddings read from the store at a time

log = logging.getLogger(__name__)


class WantedVectors:
    """The embeddings by one model of all clips that should be indexed. One that is not finite
    cannot be, which must not stop the others: it is told of once and left out.

    Args:
        model_row: the store's id of the model.
    """

    def __init__(self, store: Store, model_row: int) -> None:
        self.unfit: set[int] = set()  # clips whose embedding is not finite
        self._store = store
        self._model_row = model_row

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Ids and embeddings, page by page."""
        after = 0
        while True:
            with self._store.read() as session:
                ids, vectors = embeddings.page(session, self._model_row, after, PAGE)
            if not len(ids):
                return
            after = int(ids[-1])
            kept = self._finite(ids, vectors)
            yield ids[kept], vectors[kept]

    def of(
        self, clip_ids: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Ids and embeddings of those of the clips that are wanted."""
        with self._store.read() as session:
            stored = list(embeddings.stream(session, self._model_row, clip_ids))
        kept = [self._finite(ids, vectors) for ids, vectors in stored]
        return [(ids[fit], vectors[fit]) for (ids, vectors), fit in zip(stored, kept, strict=True)]

    def differing(self, index: Engine) -> NDArray[np.int64]:
        """Clips that `index` lacks and could have, or has and should not."""
        if self.agrees(index):
            return np.empty(0, np.int64)
        with self._store.read() as session:
            wanted = embeddings.indexable_ids(session, self._model_row)
        return np.setxor1d(wanted, self._held(index), assume_unique=True)

    def agrees(self, index: Engine) -> bool:
        """Whether there are none of these; much faster than to find them."""
        with self._store.read() as session:
            stored = embeddings.fingerprint_of_indexable(session, self._model_row)
        return stored == embeddings.fingerprint(self._held(index))

    def reconcile(self, index: Engine) -> tuple[int, int]:
        """Add what is wanted and `index` lacks, remove the reverse; returns both counts."""
        return self.match(index, self.differing(index))

    def match(self, index: Engine, clip_ids: NDArray[np.int64]) -> tuple[int, int]:
        """The same for these clips, different ones."""
        self.unfit.difference_update(clip_ids.tolist())  # they may have been deleted
        added = removed = 0
        for start in range(0, len(clip_ids), embeddings.CHUNK):
            some = clip_ids[start : start + embeddings.CHUNK]
            stored = self.of(some)
            present, _ = index.directions_of(some)
            wanted = [clip_id for ids, _ in stored for clip_id in ids]
            removed += index.remove(np.setdiff1d(present, wanted))
            for ids, vectors in stored:
                new = ~np.isin(ids, present)
                index.add(ids[new], vectors[new])
                added += int(new.sum())
        return added, removed

    def _held(self, index: Engine) -> NDArray[np.int64]:
        """Different ids: of the clips that are in the index, or could not be."""
        # np.union1d would hold the interpreter, for most of a second with a million ids.
        ids, unfit = index.ids(), np.array(sorted(self.unfit), np.int64)
        return np.concatenate([ids, unfit[~np.isin(unfit, ids)]]) if len(unfit) else ids

    def _finite(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        for clip_id in set(ids[~finite].tolist()) - self.unfit:
            self.unfit.add(clip_id)
            log.error("Clip %d has an embedding that is not finite; it is left out.", clip_id)
        return finite
