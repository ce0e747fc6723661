"""Find clips that sound alike."""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

import numpy as np

from app.domain import Channel, Clip, ClipFilter, Embedding
from app.errors import InvalidParameter, NotIndexed
from app.library.hear import hear
from app.library.library import Library
from app.recogniser import Flow
from app.store import clips


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
    stand for themselves.
    """

    k: int = 10
    min_similarity: float = -1.0
    group_by: str | None = None
    where: ClipFilter = dataclasses.field(default_factory=ClipFilter)


def similar(library: Library, clip_id: int, wanted: Wanted) -> Found:
    """The clips nearest to a stored one, never itself.

    Raises:
        NotFound: there is no such clip.
        NotIndexed: it has no embedding of the active model.
    """
    embedding = library.embedding(clip_id)
    if embedding is None:
        library.clip(clip_id)
        raise NotIndexed(f"Clip {clip_id} has no embedding of the active model.")
    return _nearest(library, embedding, wanted, clip_id)


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
    return _nearest(library, heard.recognition.embedding, wanted)


def by_vector(library: Library, vector: list[float], wanted: Wanted) -> Found:
    """The clips nearest to an embedding of the active model.

    Raises:
        InvalidParameter: its dimension is another, or a number is not finite as float32.
    """
    dimension = library.recogniser.info.dimension
    if len(vector) != dimension:
        raise InvalidParameter("vector", f"has {len(vector)} numbers, the model {dimension}.")
    with np.errstate(over="ignore"):
        query = np.array(vector, np.float32)
    if not np.isfinite(query).all():
        raise InvalidParameter("vector", "holds a number that is not finite as float32.")
    return _nearest(library, query, wanted)


def _nearest(
    library: Library, query: Embedding, wanted: Wanted, itself: int | None = None
) -> Found:
    allowed, most = None, wanted.k
    with library.store.read() as session:
        if wanted.where:
            allowed = clips.matching_ids(session, wanted.where)
        if wanted.group_by is not None:
            most = max(1, min(most, clips.count_groups(session, wanted.where)))
    index = library.index.current()
    fetch = most + (itself is not None)
    while True:
        hits = index.search(query, fetch, allowed)
        close = hits.similarities >= wanted.min_similarity
        ids = [int(i) for i in hits.ids[close] if i != itself]
        with library.store.read() as session:
            if wanted.group_by is not None:
                ids = _first_of_customers(ids, clips.customers(session, ids))
            found = clips.get_many(session, ids[:most])
        # A clip that was deleted since the search is not in `found`.
        ids = [i for i in ids if i in found]
        if len(ids) >= most or len(hits.ids) < fetch or not close.all():
            similarity = dict(zip(hits.ids.tolist(), hits.similarities.tolist(), strict=True))
            neighbours = [Neighbour(found[i], similarity[i]) for i in ids]
            return Found(neighbours, index.state, index.build, index.pending)
        fetch *= 4


def _first_of_customers(ids: list[int], customers: dict[int, str | None]) -> list[int]:
    """The first id of each customer; clips without one stand for themselves."""
    first: dict[str | int, int] = {}
    for clip_id in ids:
        if clip_id in customers:
            first.setdefault(customers[clip_id] or clip_id, clip_id)
    return list(first.values())
