"""Find clips that sound alike."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain import Channel, ClipFilter
from app.errors import InvalidParameter, NotFound, NotIndexed
from app.library.current import Current
from app.library.hear import Hearing
from app.library.library import Library
from app.library.spaces import Space
from app.recogniser import Flow
from app.store import embeddings, summaries
from app.store.summaries import ClipSummary
from index.contract import Hits


class Neighbour(NamedTuple):
    clip: ClipSummary
    similarity: float  # cosine after the index's mean is removed


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Neighbours, and the state of the index at the moment that they were found."""

    neighbours: list[Neighbour]
    model: str  # id
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


def similar(
    library: Library, clip_ids: Sequence[int], wanted: Wanted
) -> list[Found | NotFound | NotIndexed]:
    """The clips nearest to each of some stored ones, never itself; an error for one that there is
    not, or that has no embedding of the active model.

    Much of the work is done once for all of them.
    """
    space = library.spaces.active
    index = space.index.current()
    known = _directions_of(library, space, index, clip_ids)
    asked = [clip_id for clip_id in clip_ids if clip_id in known]
    found: Iterator[Found] = iter(())
    if asked:
        directions = np.array([known[clip_id] for clip_id in asked])
        named = [{clip_id} for clip_id in asked]
        found = iter(_nearest(library, space, index, directions, wanted, named))
    return [
        next(found) if clip_id in known else _why_unembedded(library, clip_id)
        for clip_id in clip_ids
    ]


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
        space = library.spaces.active
        [heard] = Hearing(library, source, channel, flow).by(space)
    index = space.index.current()
    asked = index.directions(heard.recognition.embedding[None])
    [found] = _nearest(library, space, index, asked, wanted)
    return found


def by_vectors(library: Library, vectors: list[list[float]], wanted: Wanted) -> list[Found]:
    """The clips nearest to each of some embeddings of the active model.

    Raises:
        InvalidParameter: a dimension is another, or a number is not finite as float32.
    """
    space = library.spaces.active
    dimension = space.model.dimension
    for vector in vectors:
        if len(vector) != dimension:
            raise InvalidParameter("vector", f"has {len(vector)} numbers, the model {dimension}.")
    with np.errstate(over="ignore"):
        queries = np.array(vectors, np.float32)
    if not np.isfinite(queries).all():
        raise InvalidParameter("vector", "holds a number that is not finite as float32.")
    index = space.index.current()
    return _nearest(library, space, index, index.directions(queries), wanted)


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
    space = library.spaces.active
    index = space.index.current()
    known = _directions_of(library, space, index, named)
    for clip_id in named:
        if clip_id not in known:
            raise _why_unembedded(library, clip_id)
    examples = np.array([known[clip_id] for clip_id in named], np.float64)
    asked = examples[: len(positive)].mean(axis=0, keepdims=True)
    if negative:
        asked -= examples[len(positive) :].mean(axis=0) / 2
    [found] = _nearest(library, space, index, asked.astype(np.float32), wanted, [set(named)])
    return found


def _directions_of(
    library: Library, space: Space, index: Current, clip_ids: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """Of those of the clips that have a finite embedding, indexed or not."""
    known = index.directions_of(clip_ids)
    if missing := [clip_id for clip_id in clip_ids if clip_id not in known]:
        with library.store.read() as session:
            stored = embeddings.get(session, space.model_row, missing)
        for clip_id, embedding in stored.items():
            if np.isfinite(embedding).all():
                known[clip_id] = index.directions(embedding[None])[0]
    return known


def _why_unembedded(library: Library, clip_id: int) -> NotFound | NotIndexed:
    try:
        library.clip(clip_id)
    except NotFound as exc:
        return exc
    return NotIndexed(f"Clip {clip_id} has no usable embedding of the active model.")


def _nearest(
    library: Library,
    space: Space,
    index: Current,
    queries: NDArray[np.float32],
    wanted: Wanted,
    named: Sequence[Collection[int]] = (),
) -> list[Found]:
    """The neighbours of each query, a direction of the index's: (q, D).

    Args:
        named: clips of each query that are not its neighbours; none at all when empty.
    """

    def search(some: NDArray[np.float32], k: int, customers: Collection[str] = ()) -> list[Hits]:
        unlimited = not wanted.where and not customers
        allowed = None if unlimited else library.filters.ids(wanted.where, other_than=customers)
        return index.search(some, k, allowed, exact=wanted.exact)

    gathered = [_Gathered(wanted, names) for names in named or [()] * len(queries)]
    fetch = wanted.k + max(len(names) for names in named or [()])
    hits = search(queries, fetch)
    _take(library, gathered, hits)
    for query, one, last in zip(queries, gathered, hits, strict=True):
        asked = fetch
        while one.may_find_more(last) and len(last.ids) == asked:
            # Some have one customer, or were deleted or changed since.
            asked *= 4
            [last] = search(query[None], asked, one.customers)
            _take(library, [one], [last])
    told = space.model.id, index.state, index.build, index.pending
    return [Found(one.nearest_first(), *told) for one in gathered]


class _Gathered:
    """The neighbours of one query so far. Of each of `customers` the nearest clip is among them,
    where they are grouped."""

    def __init__(self, wanted: Wanted, named: Collection[int]) -> None:
        self.customers: set[str] = set()
        self.wanted = wanted
        self._neighbours: dict[int, Neighbour] = {}
        self._seen = set(named)  # what is, or cannot be, a neighbour

    def nearest_first(self) -> list[Neighbour]:
        """Equal similarities by lower id."""
        return sorted(self._neighbours.values(), key=lambda one: (-one.similarity, one.clip.id))

    def may_find_more(self, last: Hits) -> bool:
        """Whether neighbours are missing that hits beyond the last ones could be."""
        near = self.wanted.min_similarity
        return len(self._neighbours) < self.wanted.k and bool((last.similarities >= near).all())

    def next(self, hits: Hits) -> dict[int, float]:
        """Similarities of the nearest hits that were not looked at yet: of as many as may be
        taken. None when nothing is missing."""
        if len(self._neighbours) == self.wanted.k:
            return {}
        near = hits.similarities >= self.wanted.min_similarity
        pairs = zip(hits.ids[near].tolist(), hits.similarities[near].tolist(), strict=True)
        unseen = (pair for pair in pairs if pair[0] not in self._seen)
        grouped = self.wanted.group_by is not None  # of one customer there may be many
        found = dict(unseen if grouped else itertools.islice(unseen, self.wanted.k))
        self._seen.update(found)
        return found

    def take(self, new: dict[int, float], stored: dict[int, ClipSummary]) -> None:
        """As many as are missing of the new ones that are stored."""
        for clip_id, similarity in new.items():
            if len(self._neighbours) == self.wanted.k:
                return
            clip = stored.get(clip_id)
            if clip is None or clip.customer_id in self.customers:
                continue
            self._neighbours[clip_id] = Neighbour(clip, similarity)
            if self.wanted.group_by is not None and clip.customer_id is not None:
                self.customers.add(clip.customer_id)


def _take(library: Library, gathered: Sequence[_Gathered], hits: Sequence[Hits]) -> None:
    """Give each what is wanted of its hits, as it is stored now: one that was deleted since the
    search is not, one that was changed may not match. Those behind it take its place."""
    where = gathered[0].wanted.where
    while any(new := [one.next(its) for one, its in zip(gathered, hits, strict=True)]):
        offered = list({clip_id for its in new for clip_id in its})
        if where:
            with library.store.read() as session:
                stored = summaries.of(session, offered, where)
        else:
            stored = library.summaries.of(offered)
        for one, its in zip(gathered, new, strict=True):
            one.take(its, stored)
