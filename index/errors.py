"""Everything `index/` refuses, on one screen."""

from collections.abc import Iterable


class VectorIndexError(Exception):
    """Base of all errors of the vector index."""


class InvalidVectors(VectorIndexError):
    """Vectors that cannot be compared."""


class WrongDimension(InvalidVectors):
    """Vectors that are not (n, dimension)."""


class NotFinite(InvalidVectors):
    """Vectors holding NaN or infinity."""


class InvalidIds(VectorIndexError):
    """Ids that are not whole numbers >= 1, not one per vector, or repeated within a call."""


class AlreadyPresent(InvalidIds):
    """Ids to add that the index holds already; `ids` lists them, ascending."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = sorted(int(one) for one in ids)
        shown = ", ".join(map(str, self.ids[:10])) + (", …" if len(self.ids) > 10 else "")
        super().__init__(f"{len(self.ids)} of the ids are in the index already: {shown}")


class SnapshotError(VectorIndexError):
    """A snapshot that is damaged, truncated, or made for something else; says which."""


class SnapshotNotFoundError(SnapshotError):
    """A directory without a snapshot."""
