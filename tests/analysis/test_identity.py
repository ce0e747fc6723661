"""Clusters from run to run: by shared clips, by centres, and through a year of known events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis import clustering
from app.analysis.clustering import _by_size, cluster
from app.analysis.facts import NONE
from app.analysis.grouping import Algorithm
from app.analysis.identity import Event, Snapshot, first, follow
from app.analysis.profiles import centres
from tests.analysis.year import SEEDS, STORY, Year


def snapshot(features: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> Snapshot:
    middle = centres(features.astype(np.float32), labels)
    radii = [
        np.sqrt(np.square(features[labels == c] - middle[c]).sum(axis=1).mean())
        for c in range(len(middle))
    ]
    order = np.argsort(ids)
    return Snapshot(
        sizes=np.bincount(labels[labels != NONE], minlength=len(middle)),
        total=len(labels),
        centres=middle,
        radii=np.array(radii, np.float64).reshape(len(middle)),
        members=ids[order],
        labels=labels[order].astype(np.int32),
    )


def grouped(*groups: Sequence[int], outliers: Sequence[int] = ()) -> Snapshot:
    """Clusters of these clips, which lie where nothing can be said of centres."""
    ids = np.array([i for group in groups for i in group] + list(outliers), np.int64)
    labels = [c for c, group in enumerate(groups) for _ in group] + [NONE] * len(outliers)
    features = np.zeros((len(ids), 1))
    features[:, 0] = [1000.0 * len(groups[label]) if label != NONE else 0 for label in labels]
    return snapshot(features, np.array(labels, np.int32), ids)


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events]


random_labels = st.lists(st.integers(NONE, 5), min_size=1, max_size=200)


@given(random_labels, st.integers(0, 2**32 - 1))
def test_the_same_run_again_is_the_same(labels: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    features = random.standard_normal((len(labels), 5))
    named = _by_size(np.array(labels, np.int32))
    one = snapshot(features, named, np.arange(1, len(labels) + 1))
    before = first(one, 7)
    assert before.ids == tuple(range(7, 7 + len(one.sizes)))
    after = follow(one, before.ids, one, before.next_id)
    assert (after.ids, after.events, after.next_id) == (before.ids, (), before.next_id)


@given(random_labels, random_labels, st.integers(0, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_whatever_comes_ids_and_events_agree(
    labels: list[int], later: list[int], shift: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    runs = []
    for given_labels, start in ((labels, 1), (later, 1 + shift)):
        named = _by_size(np.array(given_labels, np.int32))
        features = random.standard_normal((len(named), 3)) + 3 * np.maximum(named, 0)[:, None]
        runs.append(snapshot(features, named, np.arange(start, start + len(named))))
    old, new = runs
    before = first(old, 1)
    after = follow(old, before.ids, new, before.next_id)
    assert len(after.ids) == len(set(after.ids)) == len(new.sizes)
    fresh = [id for id in after.ids if id >= before.next_id]
    assert fresh == list(range(before.next_id, after.next_id))
    told = {kind: [e for e in after.events if e.kind == kind] for kind in kinds(after.events)}
    born = {id for event in told.get("born", []) for id in event.after}
    parts = {id for event in told.get("split", []) for id in event.after}
    assert born | (parts & set(fresh)) == set(fresh)
    assert not born & parts
    died = {id for event in told.get("died", []) for id in event.before}
    merged = {id for event in told.get("merged", []) for id in event.before}
    gone = set(before.ids) - set(after.ids)
    assert died | (merged & gone) == gone
    assert not died & merged
    for event in after.events:
        assert set(event.before) <= set(before.ids)
        assert set(event.after) <= set(after.ids)
        assert len(event.after) == (0 if event.kind == "died" else len(event.after)) or not event
    for event in told.get("split", []):
        assert len(event.after) >= 2
        assert event.before[0] in event.after
    for event in told.get("merged", []):
        assert len(event.before) >= 2
        assert event.after[0] in event.before


@given(random_labels, st.integers(0, 2**32 - 1))
def test_numbers_of_clusters_do_not_matter(labels: list[int], seed: int) -> None:
    """A run whose clusters are numbered otherwise gets the same lasting ids."""
    random = np.random.default_rng(seed)
    named = _by_size(np.array(labels, np.int32))
    features = random.standard_normal((len(labels), 4)) + 9 * np.maximum(named, 0)[:, None]
    ids = np.arange(1, len(labels) + 1)
    old = snapshot(features, named, ids)
    shuffled = random.permutation(len(old.sizes)).astype(np.int32)
    renamed = np.append(shuffled, np.int32(NONE))[named]
    new = snapshot(features, renamed, ids)
    told = follow(old, range(10, 10 + len(old.sizes)), new, 100)
    assert told.ids == tuple(
        10 + int(np.flatnonzero(shuffled == j)[0]) for j in range(len(shuffled))
    )
    assert told.events == ()


def test_most_of_its_clips_carry_the_id() -> None:
    old = grouped(range(1, 101), range(101, 181))
    new = grouped(range(101, 175), range(1, 71), outliers=range(71, 101))
    told = follow(old, [5, 6], new, 7)
    assert (told.ids, told.next_id) == ((6, 5), 7)


def test_a_split_by_shared_clips() -> None:
    old = grouped(range(1, 101), range(200, 300))
    new = grouped(range(200, 300), range(1, 61), range(61, 101))
    told = follow(old, [1, 2], new, 3)
    assert told.ids == (2, 1, 3)
    assert told.events == (Event("split", (1,), (1, 3)),)


def test_a_merge_by_shared_clips() -> None:
    old = grouped(range(1, 61), range(61, 101), range(200, 300))
    new = grouped(range(200, 300), range(1, 101))
    told = follow(old, [1, 2, 3], new, 4)
    assert told.ids == (3, 1)
    assert told.events == (Event("merged", (1, 2), (1,)),)


def test_birth_and_death_by_shared_clips() -> None:
    old = grouped(range(1, 101), range(200, 300))
    new = grouped(range(1, 101), range(400, 500), outliers=range(200, 300))
    told = follow(old, [1, 2], new, 3)
    assert told.ids == (1, 3)
    assert told.events == (Event("born", after=(3,)), Event("died", before=(2,)))


def test_growth_is_told_when_it_is_no_chance() -> None:
    def weeks(*sizes: int, start: int) -> Snapshot:
        starts = start + np.cumsum([0, *sizes])
        groups = [range(a, a + n) for a, n in zip(starts[:-1].tolist(), sizes, strict=True)]
        made = grouped(*groups)
        return Snapshot(
            made.sizes,
            made.total,
            np.arange(len(sizes))[:, None] * 100.0 + 1,
            np.ones(len(sizes)),
            made.members,
            made.labels,
        )

    old = weeks(200, 210, 190, 205, start=1)
    told = follow(old, [1, 2, 3, 4], weeks(205, 450, 195, 200, start=5000), 5)
    assert told.ids == (1, 2, 3, 4)
    [event] = told.events
    assert (event.kind, event.before) == ("grew", (2,))
    assert event.ratio == pytest.approx(450 / 210, rel=0.05)
    assert event.p is not None
    assert event.p < 0.0005
    told = follow(old, [1, 2, 3, 4], weeks(205, 60, 195, 200, start=5000), 5)
    assert kinds(told.events) == ["shrank"]
    told = follow(old, [1, 2, 3, 4], weeks(205, 450, 60, 200, start=5000), 5)
    assert [(event.kind, event.before) for event in told.events] == [
        ("grew", (2,)),
        ("shrank", (3,)),
    ]
    # All twice as many, or one more by chance: nothing that sets one apart.
    assert follow(old, [1, 2, 3, 4], weeks(400, 420, 380, 410, start=5000), 5).events == ()
    assert follow(old, [1, 2, 3, 4], weeks(205, 255, 195, 200, start=5000), 5).events == ()


def test_a_run_without_clusters_before_or_after() -> None:
    none, some = grouped(outliers=range(1, 50)), grouped(range(1, 50))
    assert kinds(follow(none, [], some, 1).events) == ["born"]
    assert kinds(follow(some, [4], none, 5).events) == ["died"]
    assert follow(none, [], none, 3).next_id == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_year_of_weekly_reports(seed: int) -> None:
    """52 weeks without a clip in common, grouped as they were made."""
    year = Year(seed)
    told = year.told(lambda features, meant: _by_size(meant))
    assert told == STORY


@pytest.mark.parametrize(("algorithm", "seed"), [("hdbscan", 0), ("kmeans", 1)])
def test_a_year_of_weekly_clusters(
    algorithm: Algorithm, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, grouped as runs group them."""
    monkeypatch.setattr(clustering, "K_GRID", range(3, 10))  # the others take three times as long
    year = Year(seed)
    before: list[int] = []

    def group(features: np.ndarray, meant: np.ndarray) -> np.ndarray:
        found = cluster(features, algorithm, None, seed, before[-1] if before else None)
        before.append(len(found.sizes))
        return found.labels

    assert year.told(group) == STORY
