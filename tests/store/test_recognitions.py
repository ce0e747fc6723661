"""What a second model makes of clips, and how scores change places."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sqlalchemy import text

from app.domain import LABELS, GivenScores, ModelInfo, Recognition
from app.store import Store, clips, embeddings, imports, models, recognitions
from tests.store.test_store import MODEL, NOW, add, model_id, new_clip

__all__ = ["model_id"]  # a fixture

OTHER = dataclasses.replace(MODEL, id="test/other", digest="e" * 64)
THIRD = dataclasses.replace(MODEL, id="test/third", digest="f" * 64)


def heard(label: str, seed: int = 0) -> Recognition:
    scores = np.random.default_rng(seed).random(9).astype(np.float32) / 99
    scores[LABELS.index(label)] = 0.9
    return Recognition(scores, np.full(4, seed, np.float32))


def beside(store: Store, model: ModelInfo = OTHER) -> int:
    with store.write() as session:
        return models.place_beside(session, model, np.zeros(4, np.float32))


def add_many(store: Store, model: int, said: dict[int, Recognition]) -> list[int]:
    with store.write() as session:
        return recognitions.add_many(session, model, list(said), list(said.values()))


def swap_all(store: Store, model: int) -> None:
    with store.write() as session:
        was = models.active(session)
        assert was is not None
        models.set_roles(session, model, models.row_of(session, was.digest))
        recognitions.swap(session, model)


def said(store: Store, *ids: int) -> list[tuple[Any, ...]]:
    with store.read() as session:
        found = clips.get_many(session, ids)
    return [(one.model, one.emotion, one.confidence, one.scores) for one in map(found.get, ids)]  # type: ignore[union-attr]


def numbers(store: Store) -> tuple[int, int]:
    """Of embeddings and recognitions."""
    with store.read() as session:
        tables = ("embeddings", "recognitions")
        count = [session.scalar(text(f"SELECT count(*) FROM {table}")) for table in tables]
    return count[0], count[1]


def test_roles(store: Store, model_id: int) -> None:
    with store.read() as session:
        assert models.beside(session) is None
    beside(store)
    other = beside(store, THIRD)
    with store.read() as session:
        assert (models.active(session), models.beside(session)) == (MODEL, THIRD)
    for _ in range(2):  # done again it changes nothing
        with store.write() as session:
            models.set_roles(session, other, model_id)
        with store.read() as session:
            assert (models.active(session), models.beside(session)) == (THIRD, MODEL)
    with store.write() as session:
        assert models.activate(session, MODEL, np.ones(4, np.float32)) == model_id
    with store.read() as session:  # the active one is never beside, nor is the one before it
        assert (models.active(session), models.beside(session)) == (MODEL, None)
        assert models.prior_mean(session, THIRD.digest) is not None
    assert beside(store, THIRD) == other
    with store.write() as session:
        models.remove_beside(session)
    with store.read() as session:
        assert (models.active(session), models.beside(session)) == (MODEL, None)


def test_there_and_back_to_the_last_bit(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(3)]
    with store.write() as session:
        given = GivenScores("sad", None, None)
        imports.add(
            session, model_id, np.array([50]), [imports.ImportedClip(heard=given)], None, NOW
        )
    ids.append(50)
    first = said(store, *ids)
    other = beside(store)
    assert add_many(store, other, {i: heard("angry", i) for i in (50, ids[1], ids[0])}) == [
        *ids[:2],
        50,
    ]
    assert said(store, *ids) == first
    with store.read() as session:
        assert recognitions.changed_emotions(session, other) == 3
    swap_all(store, other)
    now = said(store, *ids)
    for place, clip_id in ((0, ids[0]), (1, ids[1]), (3, 50)):
        assert now[place][:2] == (OTHER, "angry")
        assert now[place][3] == tuple(map(float, heard("angry", clip_id).scores))
    assert now[2] == first[2]  # the other model has not heard it
    with store.read() as session:
        assert recognitions.changed_emotions(session, model_id) == 3
    swap_all(store, model_id)
    assert said(store, *ids) == first
    swap_all(store, other)
    assert said(store, *ids) == now


def test_what_is_missing(store: Store, model_id: int) -> None:
    kept = [add(store, model_id, audio_key=f"k{number}") for number in range(4)]
    add(store, model_id)  # whose audio is not kept
    hidden = add(store, model_id, audio_key="k", indexable=False)
    other = beside(store)
    with store.read() as session:
        assert recognitions.missing(session, other, 0, 3) == (kept[:3], ["k0", "k1", "k2"])
        assert recognitions.missing(session, other, kept[2], 3) == ([kept[3], hidden], ["k3", "k"])
        assert recognitions.missing(session, model_id, 0, 3) == ([], [])
        assert recognitions.count_missing(session, other) == 5
    add_many(store, other, {kept[0]: heard("sad")})
    with store.read() as session:
        assert recognitions.missing(session, other, 0, 1) == ([kept[1]], ["k1"])
        assert recognitions.count_missing(session, other) == 4


def test_deleted_and_embedded_ones_are_left_out(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(3)]
    other = beside(store)
    add_many(store, other, {ids[0]: heard("sad", 1)})
    with store.write() as session:
        clips.remove(session, [ids[1]])
    assert add_many(store, other, {i: heard("angry", 2) for i in (*ids, 10**9)}) == [ids[2]]
    assert add_many(store, other, {}) == []
    with store.read() as session:
        assert embeddings.get(session, other, ids)[ids[0]][0] == 1
    assert numbers(store) == (4, 2)


def test_heard_by_the_model_that_is_active_by_now(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    [first] = said(store, clip_id)
    other = beside(store)
    swap_all(store, other)
    assert add_many(store, other, {clip_id: heard("sad")}) == [clip_id]
    [now] = said(store, clip_id)
    assert now[:2] == (OTHER, "sad")
    swap_all(store, model_id)
    assert said(store, clip_id) == [first]


def test_a_third_models_scores_are_kept_as_its_own(store: Store, model_id: int) -> None:
    third = beside(store, THIRD)
    clip_id = add(store, third)
    other = beside(store)
    add_many(store, other, {clip_id: heard("sad")})
    swap_all(store, other)
    assert said(store, clip_id)[0][:2] == (OTHER, "sad")
    swap_all(store, model_id)  # it has not heard the clip
    assert said(store, clip_id)[0][:2] == (OTHER, "sad")
    with store.write() as session:
        recognitions.swap(session, third)
    assert said(store, clip_id)[0][:2] == (THIRD, "happy")


def test_dropped_block_by_block_and_heard_again(store: Store, model_id: int) -> None:
    ids = [add(store, model_id, audio_key=f"k{number}") for number in range(5)]
    other = beside(store)
    add_many(store, other, {i: heard("sad", i) for i in ids})
    with store.write() as session:  # its scores are the clip's own, and stay so
        recognitions.swap(session, other, ids[:1])
    assert drop(store, other, model_id) == [2, 2, 1]
    assert numbers(store) == (5, 1)
    assert said(store, ids[0])[0][:2] == (OTHER, "sad")
    assert add_many(store, other, {i: heard("angry", i) for i in ids}) == ids
    assert said(store, ids[0])[0][:2] == (OTHER, "sad")
    swap_all(store, other)
    assert [one[1] for one in said(store, *ids)] == ["sad", *["angry"] * 4]
    swap_all(store, model_id)
    assert {one[0] for one in said(store, *ids)} == {MODEL}


def drop(store: Store, model: int, active: int) -> list[int]:
    """All of what a model made, in blocks of two clips; returns how large they were."""
    removed: list[int] = []
    with store.read() as session:
        wanted = recognitions.count_droppable(session, model, active)
    while not removed or removed[-1]:
        with store.write() as session:
            removed.append(recognitions.drop_block(session, model, active, 2))
    assert sum(removed) == wanted
    return removed[:-1]


def test_what_cannot_be_made_anew_is_not_dropped(store: Store, model_id: int) -> None:
    kept = add(store, model_id, audio_key="k")
    without_audio = add(store, model_id)
    other = beside(store)
    add_many(store, other, {kept: heard("sad")})
    with store.read() as session:
        assert recognitions.count_without_audio(session, other) == 1
        assert recognitions.count_without_audio(session, model_id) == 0
    swap_all(store, other)
    assert drop(store, model_id, other) == [1]
    assert numbers(store) == (2, 0)
    with store.read() as session:
        assert list(embeddings.get(session, model_id, [kept, without_audio])) == [without_audio]
    assert said(store, kept, without_audio)[0][1] == "sad"


def test_everything_goes_with_the_clip(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    add_many(store, beside(store), {clip_id: heard("sad")})
    assert numbers(store) == (2, 1)
    with store.write() as session:
        clips.remove(session, [clip_id])
    assert numbers(store) == (0, 0)


def test_a_new_clip_with_what_both_heard(store: Store, model_id: int) -> None:
    other = beside(store)
    with store.write() as session:
        clip_id = clips.add(session, new_clip(model_id))
        recognitions.add(session, other, {clip_id: heard("sad")})
        recognitions.add(session, other, {})
    assert said(store, clip_id)[0][:2] == (MODEL, "happy")
    swap_all(store, other)
    assert said(store, clip_id)[0][:2] == (OTHER, "sad")
