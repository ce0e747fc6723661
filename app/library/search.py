"""Find clips that sound alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from app.domain import Channel, Clip, ClipFilter
from app.errors import InvalidParameter, NotIndexed
from app.library.hear import hear
from app.library.library import Library
from app.library.live_index import Current
from app.recogniser import Flow
from app.store import Store, clips
from app.store.filters import matches
from index.contract import Hits
from index.cosine import directions


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    clip: Clip
    similarity: float  # cosine after the index's mean is removed


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Neighbours, and the state of the index at the moment that they were found."""

    neighbours: list[Neighbour]
    state: str
    build: int
    pending: int


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a search is asked for.

    `group_by` customer_id gives the nearest clip of each customer only; clips without one
    stand for themselves. `exact` compares with every clip, whatever the kind of index.
    """

    k: int = 10
    min_similarity: float = -1.0
    group_by: str | None = None
    exact: bool = False
    where: ClipFilter = dataclasses.field(default_factory=ClipFilter)


def similar(library: Library, clip_id: int, wanted: Wanted) -> Found:
    """The clips nearest to a stored one, never itself.

    Raises:
        NotFound: there is no such clip.
        NotIndexed: it has no embedding of the active model.
    """
    embedding = library.embedding(clip_id)
    if embedding is None:
        _refuse_unembedded(library, clip_id)
    [found] = _nearest(library, embedding[None], wanted, {clip_id})
    return found


def by_audio(
    library: Library, source: BinaryIO, channel: Channel, wanted: Wanted, flow: Flow
) -> Found:
    """The clips nearest to an uploaded file; nothing is stored.

    Raises:
        NoAudio, UnsupportedAudio, TooLarge, InvalidParameter: the file was refused.
        QueueFull, Unavailable: come back later.
        ClientGone: the flow was cancelled.
    """
    if channel == "split":
        raise InvalidParameter("channel", "a search hears one channel: mix, left or right.")
    with library.gate.admit(flow):
        _, [heard] = hear(library, source, channel, flow)
    [found] = _nearest(library, heard.recognition.embedding[None], wanted)
    return found


def by_vectors(library: Library, vectors: list[list[float]], wanted: Wanted) -> list[Found]:
    """The clips nearest to each of some embeddings of the active model.

    Raises:
        InvalidParameter: a dimension is another, or a number is not finite as float32.
    """
    dimension = library.recogniser.info.dimension
    for vector in vectors:
        if len(vector) != dimension:
            raise InvalidParameter("vector", f"has {len(vector)} numbers, the model {dimension}.")
    with np.errstate(over="ignore"):
        queries = np.array(vectors, np.float32)
    if not np.isfinite(queries).all():
        raise InvalidParameter("vector", "holds a number that is not finite as float32.")
    return _nearest(library, queries, wanted)


def by_examples(
    library: Library, positive: Sequence[int], negative: Sequence[int], wanted: Wanted
) -> Found:
    """The clips nearest to what the positive examples have in common and the negative ones lack.

    Asked for is the mean of the positives' directions (embeddings after the index's mean is
    removed, scaled to length 1) minus half the mean of the negatives'. The examples are not among
    the answer.

    Raises:
        NotFound: there is no such clip.
        NotIndexed: one has no embedding of the active model.
        InvalidParameter: an example is named twice.
    """
    named = [*positive, *negative]
    if len(set(named)) < len(named):
        raise InvalidParameter("positive", "and negative name a clip twice.")
    embeddings = {clip_id: library.embedding(clip_id) for clip_id in named}
    for clip_id, embedding in embeddings.items():
        if embedding is None:
            _refuse_unembedded(library, clip_id)
    index = library.index.current()
    vectors = np.array([embeddings[clip_id] for clip_id in named])
    examples = directions(vectors, index.mean).astype(np.float64)
    asked = examples[: len(positive)].mean(axis=0)
    if negative:
        asked -= examples[len(positive) :].mean(axis=0) / 2
    # As long as an embedding is, or else adding the mean would cost it digits.
    length = np.linalg.norm(vectors - index.mean, axis=1).mean()
    query = (index.mean + length * asked).astype(np.float32)
    [found] = _nearest(library, query[None], wanted, set(named), index)
    return found


def _refuse_unembedded(library: Library, clip_id: int) -> NoReturn:
    library.clip(clip_id)
    raise NotIndexed(f"Clip {clip_id} has no embedding of the active model.")


def _nearest(
    library: Library,
    queries: NDArray[np.float32],
    wanted: Wanted,
    named: Collection[int] = (),
    index: Current | None = None,
) -> list[Found]:
    """The neighbours of each query (q, D), without the clips that the query names.

    Args:
        index: the build to ask, when the queries were made for one.
    """
    index = index or library.index.current()

    def search(some: NDArray[np.float32], k: int, customers: Collection[str] = ()) -> list[Hits]:
        unlimited = not wanted.where and not customers
        allowed = None if unlimited else library.filters.ids(wanted.where, other_than=customers)
        return index.search(some, k, allowed, exact=wanted.exact)

    fetch = wanted.k + len(named)
    answers = []
    for query, hits in zip(queries, search(queries, fetch), strict=True):
        found, asked = _Gathered(library.store, wanted, named), fetch
        while found.take(hits) and len(hits.ids) == asked:
            # Some have one customer, or were deleted or changed since.
            asked *= 4
            [hits] = search(query[None], asked, found.customers)
        answers.append(Found(found.nearest_first(), index.state, index.build, index.pending))
    return answers


class _Gathered:
    """The neighbours of one query so far. Of each of `customers` the nearest clip is among them,
    where they are grouped."""

    def __init__(self, store: Store, wanted: Wanted, named: Collection[int]) -> None:
        self.customers: set[str] = set()
        self._store = store
        self._wanted = wanted
        self._named = named
        self._neighbours: dict[int, Neighbour] = {}

    def nearest_first(self) -> list[Neighbour]:
        """Equal similarities by lower id."""
        return sorted(self._neighbours.values(), key=lambda one: (-one.similarity, one.clip.id))

    def take(self, hits: Hits) -> bool:
        """Take what is wanted of these. False when it was the last that could be."""
        near = hits.similarities >= self._wanted.min_similarity
        pairs = zip(hits.ids[near].tolist(), hits.similarities[near].tolist(), strict=True)
        similarity = {
            clip_id: value
            for clip_id, value in pairs
            if clip_id not in self._named and clip_id not in self._neighbours
        }
        for clip in self._read(list(similarity)):
            self._neighbours[clip.id] = Neighbour(clip, similarity[clip.id])
        return len(self._neighbours) < self._wanted.k and bool(near.all())

    def _read(self, clip_ids: list[int]) -> list[Clip]:
        """The first of the clips, as many as are missing, as they are stored now."""
        missing = self._wanted.k - len(self._neighbours)
        with self._store.read() as session:
            if self._wanted.group_by is not None:
                clip_ids = self._first_of_customers(clip_ids, clips.customers(session, clip_ids))
            stored = clips.get_many(session, clip_ids[:missing])
        # One that was deleted since the search is not stored, one that was changed may not match.
        found = [clip for clip in stored.values() if matches(clip, self._wanted.where)]
        if self._wanted.group_by is not None:
            self.customers.update(filter(None, (clip.fields.customer_id for clip in found)))
        return found

    def _first_of_customers(
        self, clip_ids: list[int], customers: dict[int, str | None]
    ) -> list[int]:
        """The first clip of each further customer; clips without one stand for themselves."""
        first: dict[str | int, int] = {}
        for clip_id in clip_ids:
            if clip_id in customers and customers[clip_id] not in self.customers:
                first.setdefault(customers[clip_id] or clip_id, clip_id)
        return list(first.values())
