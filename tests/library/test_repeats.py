"""Repeat complaints in a library: as a plain reference finds them, whatever changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text

from app.domain import LABELS, Clip, ClipFields, ClipFilter, GivenScores
from app.library import Library, duplicates
from app.library.imports import add_rows, begin
from app.library.repeats import EACH_WAY
from app.store import clips, embeddings
from app.store import duplicates as duplicate_rows
from app.store.duplicates import FoundPair
from app.store.imports import ImportedClip
from tests.library import spaces_rig

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
WINDOW = dt.timedelta(days=30)
CLIPS, VOICES = 150, 6
REPEATS = frozenset({"repeat_complaint"})


@pytest.fixture
def library(reopen: Callable[..., Library], database: dict[str, str]) -> Library:
    return held(reopen(**database))


def held(library: Library) -> Library:
    """Nothing is looked for but by the tests."""
    library._maintenance.close()
    library._maintenance.join()
    return library


def add(library: Library, count: int = CLIPS, seed: int = 0) -> None:
    """Clips of VOICES voices in several moods, two in three with a customer."""
    random = np.random.default_rng(seed)
    dimension = library.index.dimension
    voice, mood = random.integers(VOICES, size=count), random.integers(3, size=count)
    centres = np.random.default_rng(99).standard_normal((VOICES + 3, dimension))
    vectors = centres[voice] + 0.7 * centres[VOICES + mood]
    vectors += 0.9 * random.standard_normal(vectors.shape)
    scores = random.dirichlet(np.full(len(LABELS), 0.3), count) * 0.3
    scores[np.arange(count), mood] += 0.7
    rows = [
        ImportedClip(
            ClipFields(
                customer_id=f"c{voice[i]}" if random.random() < 0.67 else None,
                call_id=f"call {random.integers(count)}",
                recorded_at=NOW + dt.timedelta(hours=int(random.integers(24 * 60))),
            ),
            GivenScores(LABELS[mood[i]], float(scores[i].max()), tuple(scores[i].tolist())),
        )
        for i in range(count)
    ]
    key = hashlib.sha256(f"repeats {seed}".encode()).hexdigest()
    begin(library, key, None, rows=count, dimension=dimension, highest_id=None)
    add_rows(library, key, None, 0, vectors.astype(np.float32), rows, None)


def stored(library: Library) -> dict[tuple[int, int], float]:
    with library.store.read() as session:
        rows = session.execute(
            text("SELECT low_id, high_id, kind, similarity FROM duplicate_pairs")
        )
        return {(low, high): similarity for low, high, kind, similarity in rows}


def expected(
    library: Library, nearness: float = 0.9, window: dt.timedelta = WINDOW
) -> dict[tuple[int, int], float]:
    """By brute force."""
    with library.store.read() as session:
        found = clips.get_many(session, library.filters.ids(ClipFilter()).tolist())
        vectors = embeddings.get(session, library.model_row, list(found))
    ids = [i for i in found if i in vectors]
    centred = np.stack([vectors[i] for i in ids]).astype(float) - library.index.mean
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = centred @ centred.T
    others = np.sort(cosine - 9 * np.eye(len(ids)), axis=1)[:, ::-1]
    third, tenth = others[:, 2], others[:, 9]
    pairs: dict[tuple[int, int], float] = {}
    for i, one in enumerate(found[i] for i in ids):
        its = [found[j] for j in ids if found[j].fields.customer_id == one.fields.customer_id]
        its.sort(key=lambda other: (time_of(other), other.id))
        at = its.index(one)
        near = {other.id for other in its[max(at - EACH_WAY, 0) : at + EACH_WAY + 1]}
        for j, other in enumerate(found[j] for j in ids):
            if i == j or not alike(one, other, window):
                continue
            a, b = one.fields.customer_id, other.fields.customer_id
            if a is not None and a == b:
                is_one = cosine[i, j] >= nearness * min(tenth[i], tenth[j])
                is_one &= other.id in near
            else:
                unknown = a is None or b is None
                is_one = unknown and cosine[i, j] >= max(third[i], third[j])
            if is_one:
                pairs[min(one.id, other.id), max(one.id, other.id)] = cosine[i, j]
    return pairs


def alike(one: Clip, other: Clip, window: dt.timedelta) -> bool:
    apart = abs(time_of(one) - time_of(other))
    if apart > window or one.fields.call_id == other.fields.call_id:
        return False
    if one.scores is None or other.scores is None:
        return False
    p, q = (np.array(its) / np.sum(its) for its in (one.scores, other.scores))
    return bool(np.sqrt(p * q).sum() >= 0.9)


def time_of(clip: Clip) -> dt.datetime:
    assert clip.fields.recorded_at is not None
    return clip.fields.recorded_at


def check(library: Library, **by: Any) -> set[tuple[int, int]]:
    wanted, found = expected(library, **by), stored(library)
    assert found.keys() == wanted.keys()
    for pair, similarity in found.items():
        assert abs(similarity - wanted[pair]) < 1e-5
    return set(found)


def test_as_a_plain_reference_finds_them(library: Library) -> None:
    add(library)
    at_once = set[tuple[int, int]]().union(*(linked_of(library, i) for i in range(1, CLIPS + 1)))
    library.repeats.catch_up()
    pairs = check(library)
    assert len(pairs) > 60
    with library.store.read() as session:
        customers = {
            i: c.fields.customer_id for i, c in clips.get_many(session, range(1, CLIPS + 1)).items()
        }
    known = [pair for pair in pairs if None not in (customers[pair[0]], customers[pair[1]])]
    assert 20 < len(known) < len(pairs) - 5
    assert at_once == pairs


def test_found_again_where_a_clip_changes(library: Library) -> None:
    add(library)
    library.repeats.catch_up()
    before = check(library)
    of = {i: library.clip(i).fields.customer_id for i in range(1, CLIPS + 1)}
    one = min(low for low, high in before if of[low] is not None and of[low] == of[high])
    library.change(one, {"customer_id": "somebody else"})
    at_once = linked_of(library, one)
    library.repeats.catch_up()
    after = {pair for pair in check(library) if one in pair}
    assert after == at_once < {pair for pair in before if one in pair}
    library.change(one, {"customer_id": "c1", "recorded_at": NOW - dt.timedelta(days=300)})
    library.repeats.catch_up()
    assert not any(one in pair for pair in check(library))
    library.forget(min(pair[0] for pair in stored(library)))
    add(library, 60, seed=1)
    library.repeats.catch_up()
    # What is around the old clips is nearer now; they are looked at when they change.
    new = {pair for pair in stored(library) if max(pair) > CLIPS}
    assert new == {pair for pair in new if pair in expected(library)}
    assert new


def test_files_of_which_nothing_is_known_are_not_the_same(library: Library) -> None:
    add(library, 3)
    clip = library.clip(3)
    assert clip.file_sha256 is None
    assert library.duplicate_of(clip) is None
    assert {one.kind for one in duplicates.of_clip(library, 3, 10)} <= REPEATS


def test_a_copy_that_is_found_late_is_no_repeat(library: Library) -> None:
    add(library)
    library.repeats.catch_up()
    low, high = min(check(library))
    with library.store.write() as session:
        duplicate_rows.add_pairs(session, [FoundPair(low, high, "same_recording", 0.9)])
    assert (low, high) not in linked_of(library, low, "repeat_complaint")
    library.repeats.catch_up()
    with library.store.read() as session:
        kinds = session.scalars(
            text("SELECT kind FROM duplicate_pairs WHERE low_id = :low AND high_id = :high"),
            {"low": low, "high": high},
        )
        assert list(kinds) == ["same_recording"]


def test_all_are_looked_at_again_when_there_are_twice_as_many(library: Library) -> None:
    add(library)
    library.repeats.catch_up()
    add(library, 2 * CLIPS, seed=1)
    library.repeats.catch_up()
    check(library)


def linked_of(library: Library, clip_id: int, *kinds: str) -> set[tuple[int, int]]:
    found = duplicates.of_clip(library, clip_id, 1000)
    return {
        (min(clip_id, one.clip_id), max(clip_id, one.clip_id))
        for one in found
        if not kinds or one.kind in kinds
    }


def test_again_with_other_thresholds(
    reopen: Callable[..., Library], database: dict[str, str]
) -> None:
    library = held(reopen(**database))
    add(library)
    library.repeats.catch_up()
    before = check(library)
    again = held(reopen(**database, repeat_nearness=1.2, repeat_window_days=5))
    again.repeats.catch_up()
    after = check(again, nearness=1.2, window=dt.timedelta(days=5))
    assert after < before
    assert after


def test_a_clip_that_changes_while_it_is_looked_at_is_looked_at_again(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(library)
    original = library.repeats._found
    changed: list[int] = []

    def change_one(*of: Any) -> Any:
        found = original(*of)
        if not changed and found:
            changed.append(found[0].low_id)
            library.change(changed[0], {"customer_id": "somebody else"})
        return found

    monkeypatch.setattr(library.repeats, "_found", change_one)
    library.repeats.catch_up()
    monkeypatch.undo()
    library.repeats.catch_up()
    assert changed
    check(library)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_clip_at_the_end_of_time_hinders_nothing(library: Library, year: int) -> None:
    add(library)
    [clip_id] = [i for i in range(1, CLIPS) if library.clip(i).fields.customer_id][:1]
    library.change(clip_id, {"recorded_at": dt.datetime(year, 1, 1, tzinfo=dt.UTC)})
    assert duplicates.of_clip(library, clip_id, 10) == []
    library.repeats.catch_up()
    check(library)


def test_groups_are_told_when_asked_for(library: Library) -> None:
    add(library)
    assert duplicates.page(library, REPEATS, None, ClipFilter(), 50) == ([], None)
    library.repeats.catch_up()
    found, _ = duplicates.page(library, REPEATS, None, ClipFilter(), 50)
    assert sum(len(one.members) for one in found) == len({i for p in stored(library) for i in p})
    default, _ = duplicates.page(library, frozenset({"same_file"}), None, ClipFilter(), 50)
    assert default == []
    low, high = found[0].pairs[0].clip_ids
    duplicates.decide(library, [(low, high)], "dismiss")
    library.change(low, {"agent_id": "somebody"})  # looked at again: the decision stands
    library.repeats.catch_up()
    found, _ = duplicates.page(library, REPEATS, None, ClipFilter(), 50)
    assert not any({low, high} <= set(one.members) for one in found)


def test_posted_clips_are_told_before_anything_is_stored(library: Library) -> None:
    """The model hears noise as it likes; two channels of one call are no repeat."""
    both = spaces_rig.posted(library, 1, channel="split", fields=ClipFields(customer_id="anna"))
    assert set(both["channels"]) == {"right"}
    again = spaces_rig.post(library, 2, fields=ClipFields(customer_id="anna"))
    told = duplicates.of_clip(library, again, 10)
    library.repeats.catch_up()
    assert duplicates.of_clip(library, again, 10) == told


def test_a_clip_without_scores_is_no_repeat(library: Library) -> None:
    add(library)
    key = hashlib.sha256(b"bare").hexdigest()
    with library.store.read() as session:
        vector = embeddings.get(session, library.model_row, [1])[1]
        first = clips.get(session, 1)
    assert first is not None
    fields = dataclasses.replace(first.fields, call_id="another")
    begin(library, key, None, rows=1, dimension=len(vector), highest_id=None)
    twin: NDArray[np.float32] = vector[None]
    add_rows(library, key, None, 0, twin, [ImportedClip(fields)], None)
    library.repeats.catch_up()
    assert not any(CLIPS + 1 in pair for pair in stored(library))
    with library.store.read() as session:
        marked = session.scalar(text("SELECT count(*) FROM clips WHERE repeats_by IS NOT NULL"))
    assert marked == CLIPS + 1
