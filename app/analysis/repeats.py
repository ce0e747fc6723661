"""Whether two recordings are of one complaint: alike in sound and in emotion.

How alike embeddings are differs from model to model, and in one library from place to place, so
that no similarity is much by itself. It is compared with that of a clip's neighbours (local
scaling, Zelnik-Manor and Perona 2004).
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEIGHBOURS: Final = 10  # of a clip, whose similarities say how near clips are around it
VOICE: Final = 3  # of those, how many are a voice alike
FEW: Final = 0.5  # similarity of the last neighbour, at least, where there are not that many
ROUNDING: Final = 1e-6  # the third neighbour may be the very clip that is compared


@dataclasses.dataclass(frozen=True, slots=True)
class Thresholds:
    nearness: float  # share of the similarity of the tenth neighbour
    emotion: float  # Bhattacharyya coefficient


def locality(similarities: Floats) -> Floats:
    """(2,): how similar the third and the tenth neighbour are; of fewer, the last.

    Args:
        similarities: (n,) of the nearest other clips, falling.
    """
    ranks = np.array([VOICE, NEIGHBOURS])
    if not len(similarities):
        return np.full(2, FEW)
    found: Floats = similarities[np.minimum(ranks, len(similarities)) - 1].astype(np.float64)
    return np.where(ranks > len(similarities), np.maximum(found, FEW), found)


def emotion_agreement(scores: Floats, others: Floats) -> Floats:
    """(n,) Bhattacharyya coefficients of one clip's scores (L,) and others' (n, L): 1 where they
    are the same, 0 where no emotion is in both."""
    one, many = (np.sqrt(its / its.sum(-1, keepdims=True)) for its in (scores, others))
    found: Floats = np.clip(many @ one, 0.0, 1.0)
    return found


def depends_on_other(
    similarities: Floats, same_customer: NDArray[np.bool_], local: Floats, thresholds: Thresholds
) -> NDArray[np.bool_]:
    """(n,) for which of n clips `are_repeats` needs their locality, arguments as there: the
    others are decided by that of the one, whatever their own is."""
    near = (
        similarities >= np.where(same_customer, thresholds.nearness * local[1], local[0]) - ROUNDING
    )
    found: NDArray[np.bool_] = near != same_customer
    return found


def are_repeats(
    similarities: Floats,
    agreements: Floats,
    same_customer: NDArray[np.bool_],
    local: Floats,
    locals_: Floats,
    thresholds: Thresholds,
) -> NDArray[np.bool_]:
    """(n,) which of n clips are of the same complaint as one.

    Recordings of one customer are when they are nearly as alike as the tenth neighbour of either.
    Where the customer is not known, each must be among the three nearest of the other: they are
    the same voice then more often than not.

    Args:
        similarities: (n,) cosine of the directions.
        agreements: (n,) of emotions.
        same_customer: (n,) whether both are known to be of one customer.
        local: (2,) `locality` of the clip.
        locals_: (n, 2) of the others; anything where it does not matter (`depends_on_other`).
    """
    of_customer = thresholds.nearness * np.minimum(local[1], locals_[:, 1])
    of_voice = np.maximum(local[0], locals_[:, 0])
    limits = np.where(same_customer, of_customer, of_voice)
    near = similarities >= limits - ROUNDING
    found: NDArray[np.bool_] = near & (agreements >= thresholds.emotion)
    return found
