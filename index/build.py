"""Which engine a library of a size gets, and a new build of it from its embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from index.contract import Ids, Vectors
from index.flat import FlatIndex
from index.graph_index import GraphIndex
from index.mean import RunningMean, needs_rebuild, shrunk_mean
from index.row_files import RowFiles

Engine = FlatIndex | GraphIndex
Blocks = Callable[[], Iterable[tuple[Ids, Vectors]]]
Watch = Callable[[int], None]

GRAPH_BYTES: Final = 64 << 20  # of directions, from which a graph is several times faster
SPARSE: Final = 0.75  # a graph index with fewer live rows than this share is built anew


def build(
    read: Blocks,
    dimension: int,
    prior: NDArray[np.floating] | None,
    rows: RowFiles,
    watch: Watch = lambda _: None,
) -> Engine:
    """An index over the blocks of ids (n,) and embeddings (n, D) that each call of `read` yields,
    centred on their mean shrunk to the prior. They are read twice and never held together.

    Args:
        rows: where the rows of a large library go.
        watch: called with a number of embeddings whenever one of the `passes` has got over so
            many more; what it raises ends the build.

    Raises:
        InvalidVectors, InvalidIds: as `VectorIndex.add`.
        OSError: the disk is full.
    """
    library = RunningMean(dimension)
    for _, vectors in read():
        library.add(vectors)
        watch(len(vectors))
    mean = shrunk_mean(library.mean(), library.count, prior)
    if _is_large(library.count, dimension):
        return GraphIndex.build(mean, _watched(read(), watch), make=rows, linked=watch)
    index = FlatIndex(dimension, mean)
    for ids, vectors in _watched(read(), watch):
        index.add(ids, vectors)
    return index


def passes(count: int, dimension: int) -> int:
    """How often a build goes over each of so many embeddings: for the mean, to add it, and in a
    large library to link it."""
    return 3 if _is_large(count, dimension) else 2


def is_outgrown(index: Engine, built_on: int) -> bool:
    """Whether a new build would serve better than this one, whose mean was taken from `built_on`
    embeddings: of another engine, with another mean, or without the gaps of what was removed."""
    size = len(index)
    if isinstance(index, FlatIndex):
        return _is_large(size, index.dimension) or needs_rebuild(built_on, size)
    sparse = size < SPARSE * (size + index.removed)
    return sparse or not _is_large(2 * size, index.dimension) or needs_rebuild(built_on, size)


def _watched(blocks: Iterable[tuple[Ids, Vectors]], watch: Watch) -> Iterator[tuple[Ids, Vectors]]:
    for ids, vectors in blocks:
        yield ids, vectors
        watch(len(ids))


def _is_large(count: int, dimension: int) -> bool:
    return 4 * count * dimension >= GRAPH_BYTES
