"""Fingerprints tell sets of clips apart."""

from __future__ import annotations

import datetime as dt

import numpy as np

from app.domain import ClipFields, GivenScores
from app.store import Store, clips, embeddings, imports
from app.store.ids import HIGHEST_GIVEN
from tests.store.test_store import add, model_id

__all__ = ["model_id"]  # a fixture


def test_a_fingerprint_is_that_of_the_ids(store: Store, model_id: int) -> None:
    def both() -> tuple[tuple[int, ...], tuple[int, ...]]:
        with store.read() as session:
            ids = embeddings.indexable_ids(session, model_id)
            told = embeddings.fingerprint_of_indexable(session, model_id)
        return told, embeddings.fingerprint(ids)

    assert both() == ((0, 0, 0), (0, 0, 0))
    ids = [add(store, model_id, indexable=number % 3 > 0) for number in range(9)]
    seen = [both()]
    for clip_id in ids[1:4]:
        with store.write() as session:
            clips.remove(session, [clip_id])
        seen.append(both())
    assert all(told == wanted for told, wanted in seen)
    assert len(set(seen)) == 3  # the fourth clip is not indexed


def test_fingerprints_tell_sets_apart() -> None:
    one = np.arange(1, 200_001)
    told = embeddings.fingerprint(one)
    for other in (one[1:], np.append(one[:-1], 200_001), np.append(one[2:], [10**9, 200_004])):
        assert embeddings.fingerprint(other) != told
    # Equal number and sum.
    assert embeddings.fingerprint(np.array([1, 4])) != embeddings.fingerprint(np.array([2, 3]))


def test_the_largest_ids_have_one(store: Store, model_id: int) -> None:
    ids = HIGHEST_GIVEN - np.arange(5000)
    rows = [imports.ImportedClip(ClipFields(), GivenScores(None))] * len(ids)
    vectors = np.ones((len(ids), 4), np.float32)
    with store.write() as session:
        imports.add(session, model_id, ids, rows, vectors, dt.datetime.now(dt.UTC))
    with store.read() as session:
        told = embeddings.fingerprint_of_indexable(session, model_id)
    assert told == embeddings.fingerprint(ids)
