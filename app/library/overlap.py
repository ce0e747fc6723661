"""How alike the neighbours are that two models find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.library.spaces import Space
from app.store import Store, embeddings

CLIPS = 500  # asked for
NEIGHBOURS = 10


def neighbour_overlap(store: Store, one: Space, other: Space) -> tuple[float | None, int]:
    """The mean share of a clip's nearest ten by one model that are among its nearest ten by the
    other, over up to 500 clips that both have; and over how many. None: there are not two."""
    both = np.intersect1d(
        one.index.current().index.ids(), other.index.current().index.ids(), assume_unique=True
    )
    if len(both) < 2:
        return None, 0
    asked = np.random.default_rng(0).choice(both, min(CLIPS, len(both)), replace=False)
    pairs = [_neighbours(store, space, np.sort(asked), both) for space in (one, other)]
    clips = sorted(pairs[0].keys() & pairs[1].keys())  # some may have been deleted
    wanted = min(NEIGHBOURS, len(both) - 1)
    shares = [len(pairs[0][clip] & pairs[1][clip]) / wanted for clip in clips]
    return (float(np.mean(shares)), len(clips)) if clips else (None, 0)


def _neighbours(
    store: Store, space: Space, asked: NDArray[np.int64], among: NDArray[np.int64]
) -> dict[int, set[int]]:
    index = space.index.current()
    allowed = None if len(among) == len(space.index) else among
    found: dict[int, set[int]] = {}
    with store.read() as session:
        for ids, vectors in embeddings.stream(session, space.model_row, asked):
            answers = index.search(index.directions(vectors), NEIGHBOURS + 1, allowed)
            for clip_id, hits in zip(ids.tolist(), answers, strict=True):
                near = [near for near in hits.ids.tolist() if near != clip_id]
                found[clip_id] = set(near[:NEIGHBOURS])
    return found
