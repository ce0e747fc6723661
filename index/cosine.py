"""Similarity of two embeddings, defined once for every engine."""

from collections.abc import Iterator

import numpy as np

from index.contract import Hits, Ids, Similarities, Vectors
from index.errors import InvalidIds, NotFinite, WrongDimension

_BLOCK_VALUES = 1 << 18  # vector values converted to float64 at a time: 2 MiB


def checked_vectors(vectors: Vectors, dimension: int) -> Vectors:
    """The same vectors as a float32 array (n, dimension).

    Raises:
        WrongDimension, NotFinite
    """
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, refused below
        checked = np.asarray(vectors, np.float32, order="C")
    if checked.ndim != 2 or checked.shape[1] != dimension:
        raise WrongDimension(f"expected (n, {dimension}), got {checked.shape}")
    for block in blocks(len(checked), dimension):
        if not np.isfinite(checked[block]).all():
            raise NotFinite("vectors hold NaN or infinity")
    return checked


def checked_mean(mean: Vectors | None, dimension: int) -> Vectors:
    """A read-only float32 copy (dimension,); zeros for None.

    Raises:
        WrongDimension, NotFinite
    """
    if dimension < 1:
        raise WrongDimension(f"the dimension is {dimension}")
    wanted = np.zeros(dimension, np.float32) if mean is None else mean
    checked: Vectors = checked_vectors(np.asarray(wanted)[np.newaxis], dimension)[0].copy()
    checked.flags.writeable = False
    return checked


def checked_ids(ids: Ids) -> Ids:
    """The same ids as an int64 array (n,), for filters and removal.

    Raises:
        InvalidIds
    """
    checked = np.asarray(ids)
    if checked.ndim != 1 or (checked.size and checked.dtype.kind not in "iu"):
        raise InvalidIds(f"expected whole numbers (n,), got {checked.dtype} {checked.shape}")
    return checked.astype(np.int64, copy=False)


def checked_new_ids(ids: Ids, count: int) -> Ids:
    """The same ids as an int64 array (count,), each >= 1 and different.

    Raises:
        InvalidIds
    """
    checked = checked_ids(ids)
    if len(checked) != count:
        raise InvalidIds(f"{len(checked)} ids for {count} vectors")
    if count and checked.min() < 1:
        raise InvalidIds("ids start at 1")
    if has_repeats(checked):
        raise InvalidIds("an id is repeated")
    return checked


def has_repeats(ids: Ids) -> bool:
    """Whether some of ids (n,) are equal. (np.unique takes eighty times as long.)"""
    ordered = np.sort(ids, kind="stable")
    return bool((ordered[1:] == ordered[:-1]).any())


def directions(vectors: Vectors, mean: Vectors) -> Vectors:
    """Centred unit vectors (n, D) of embeddings (n, D); zeros where an embedding is the mean."""
    result = np.empty(vectors.shape, np.float32)
    for block in blocks(*vectors.shape):
        centred = vectors[block].astype(np.float64) - mean
        length = np.sqrt(np.vecdot(centred, centred))[:, np.newaxis]
        result[block] = np.divide(centred, length, out=centred, where=length > 0)
    return result


def similarities(direction: Vectors, others: Vectors) -> Similarities:
    """Cosine (n,) of one direction (D,) with others (n, D), as `similarities_of_each`."""
    result: Similarities = similarities_of_each(direction[np.newaxis], others[np.newaxis])[0]
    return result


def similarities_of_each(directions: Vectors, others: Vectors) -> Similarities:
    """Cosines (q, n) of directions (q, D), each with others of its own (q, n, D), in float64.

    Each value depends on its two directions alone and is the same either way round: `vecdot` is
    one dot product a row, where a matrix product rounds by a row's place in the batch.
    Dividing by sqrt(|a|^2 |b|^2), not |a| |b|, makes equal directions exactly 1.0.
    """
    count, its, dimension = others.shape
    result = np.zeros((count, its))
    for some in blocks(count, max(1, its * dimension)):
        asked = directions[some, np.newaxis].astype(np.float64)
        for block in blocks(its, dimension):
            rows = others[some, block].astype(np.float64)
            scale = np.sqrt(np.vecdot(rows, rows) * np.vecdot(asked, asked))
            np.divide(np.vecdot(rows, asked), scale, out=result[some, block], where=scale > 0)
    return np.minimum(np.maximum(result, -1.0, out=result), 1.0, out=result)  # np.clip is slower


def rounding_margin(direction: Vectors) -> float:
    """How far below the k-th best float32 score for a direction (D,) a row of the true first k
    can lie.

    A float32 inner product of D terms, in any order of summation, is within D u |a| |b| of the
    truth, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); a row's length
    within 2 u of 1 adds 4 u. The k-th and the row may err in opposite ways: twice that.
    """
    length = float(np.sqrt(np.vecdot(direction, direction)))
    return 2.0 * (len(direction) + 8) * 2.0**-24 * max(1.0, length)


def nearest(ids: Ids, similarity: Similarities, k: int) -> Hits:
    """The k first of ids (n,) by falling similarity (n,), then by rising id."""
    order = np.lexsort((ids, -similarity))[:k]
    return Hits(ids[order], similarity[order])


def blocks(count: int, dimension: int) -> Iterator[slice]:
    """Slices that cover `count` rows, a few MiB of float64 each."""
    step = max(1, _BLOCK_VALUES // dimension)
    return (slice(start, start + step) for start in range(0, count, step))
