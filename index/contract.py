"""What every engine does, whichever way it finds its candidates."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Similarities = NDArray[np.float64]


class Hits(NamedTuple):
    """Answer to one query: nearest first, equal similarities by lower id."""

    ids: Ids  # (m,)
    similarities: Similarities  # (m,), in [-1, 1]


class Stored(NamedTuple):
    """One moment of an index: later adds and removes do not show in it."""

    ids: Ids  # (n,), in the order of the rows that `directions` yields
    directions: Iterator[Vectors]  # blocks (rows, D) of centred unit vectors, n rows in all


class VectorIndex(Protocol):
    """Cosine similarity search over embeddings, safe to call from any number of threads.

    An embedding is compared by its *direction* (`cosine.directions`): the mean of the build is
    removed, what remains is scaled to length 1 and kept as float32. The similarity of two
    embeddings is the cosine of their directions in float64, clipped to [-1, 1]. It depends on
    nothing but the two embeddings and the mean: not on the engine, nor on what else is stored
    or asked. Equal embeddings have similarity exactly 1.0, except that an embedding equal to
    the mean has no direction and similarity 0.0 to everything, itself included.

    An engine may miss a neighbour where it says that it is approximate; it never reports
    another similarity, breaks ties otherwise, or returns fewer hits than there are.
    """

    kind: str  # how it finds its candidates

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""

    @property
    def mean(self) -> Vectors:
        """(D,), what is removed before the cosine; fixed for the life of a build, read-only."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors, ids and structure now held, removed ones not yet reclaimed included."""

    def __len__(self) -> int: ...

    def __contains__(self, id: object) -> bool: ...

    def ids(self) -> Ids:
        """All stored ids, ascending."""

    def directions_of(self, ids: Ids) -> tuple[Ids, Vectors]:
        """Those of these ids that are stored, ascending (m,), and their directions (m, D).

        Asked for in any order, repeated or unknown ids included. An id that is there twice was
        stored twice, which `add` refuses: the index is damaged.

        Raises:
            InvalidIds: the ids are not whole numbers.
        """

    def direction_of(self, id: int) -> Vectors | None:
        """The direction (D,) of this id, None where it is not stored; the fastest way for a few.

        Not to be written to.
        """

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Store embeddings as the model gave them: ids (n,) >= 1, vectors (n, D).

        All of them or, when it raises, none. A search that starts after it returned sees them.

        Raises:
            WrongDimension, NotFinite: the vectors are unfit.
            InvalidIds: the ids are unfit, not n, or repeated within the call.
            AlreadyPresent: some of the ids are stored already.
        """

    def remove(self, ids: Ids) -> int:
        """Remove these ids; unknown ones are ignored. Returns how many were removed.

        No search that starts after it returned reports them.
        """

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
        exact: bool = False,
    ) -> list[Hits]:
        """The k >= 1 nearest stored embeddings of each query; queries (q, D), raw as for `add`.

        `allowed` limits the answer to these ids, `excluded` keeps these out and wins over
        `allowed`; both in any order, repeated or unknown ids included. Each answer has
        min(k, number of stored ids that pass) hits. Answers of one call are of one moment. With
        `exact` no neighbour is missed, however long it takes.

        Raises:
            WrongDimension, NotFinite: the queries are unfit.
            InvalidIds: a filter holds something other than whole numbers.
            ValueError: k < 1.
        """

    def search_directions(
        self,
        asked: Vectors,
        k: int,
        *,
        allowed: Ids | None = None,
        excluded: Ids | None = None,
        exact: bool = False,
    ) -> list[Hits]:
        """`search` for directions (q, D), as `directions_of` gives them or near to length 1."""

    def stored(self) -> Stored:
        """What is stored at this moment, for snapshots and for building another engine."""
