"""A library whose clips come from elsewhere than they did gets a mean of its own by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import index.build
from app.library import mean_watch
from app.store import clips
from index.mean import shrunk_mean
from tests.library.test_live_index import DIMENSION, PRIOR, Rig

CLIPS = 1500
ELSEWHERE = 1.0  # added to each of the DIMENSION values, whose deviation is 1


class Place(Rig):
    """A rig whose clips come from where it is told."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._rng = np.random.default_rng(3)

    def vectors(self, count: int, centre: float = 0.0) -> np.ndarray:
        return self._rng.standard_normal((count, DIMENSION)).astype(np.float32) + np.float32(centre)

    def add_many(self, count: int, centre: float = 0.0) -> np.ndarray:
        removals, vectors = self.index.removals, self.vectors(count, centre)
        ids = self.commit_many(vectors)
        assert self.index.add_block(ids, vectors, removals=removals)
        return ids

    def delete_many(self, ids: np.ndarray) -> None:
        with self.store.write() as session:
            clips.remove(session, ids.tolist())
        self.index.remove(ids.tolist())
        for clip_id in ids.tolist():
            del self.embeddings[clip_id]

    def is_rebuilt(self) -> bool:
        """By its maintenance, now."""
        build = self.index.build
        self.index.maintain()
        return self.index.build > build

    def assert_its_mean_is_taken_off(self) -> None:
        stored = np.stack(list(self.embeddings.values()))
        np.testing.assert_allclose(
            self.index.mean, shrunk_mean(stored.mean(axis=0), len(stored), PRIOR), atol=1e-5
        )


@pytest.fixture(params=["flat", "graph"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """CLIPS clips in a build."""
    if request.param == "graph":
        monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 500)
    rig = Place(tmp_path)
    rig.commit_many(rig.vectors(CLIPS))
    rig.index.rebuild()
    assert rig.index.kind == request.param
    yield rig
    rig.store.close()


def test_clips_from_elsewhere_are_reason_to_rebuild(place: Place) -> None:
    place.add_many(CLIPS // 8, ELSEWHERE)
    assert place.is_rebuilt()
    place.assert_its_mean_is_taken_off()
    assert place.index.current().index.ids().tolist() == list(place.embeddings)
    assert not place.is_rebuilt()


def test_clips_from_the_same_place_are_none(place: Place) -> None:
    for _ in range(4):
        place.add_many(CLIPS // 10)
        assert not place.is_rebuilt()


def test_a_rebuild_that_failed_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    place.add_many(CLIPS // 8, ELSEWHERE)
    with monkeypatch.context() as broken:
        broken.setattr(type(place.index), "_build", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="full"):
                place.index.maintain()
    assert place.is_rebuilt()


@pytest.mark.parametrize("way", ["one by one", "found by an audit"])
def test_clips_count_whichever_way_they_come(tmp_path: Path, way: str) -> None:
    place = Place(tmp_path)
    place.add_many(200)
    place.index.rebuild()
    vectors, removals = place.vectors(30, 2 * ELSEWHERE), place.index.removals
    ids = place.commit_many(vectors)
    if way == "one by one":
        for clip_id, vector in zip(ids.tolist(), vectors, strict=True):
            assert place.index.add(clip_id, vector, removals=removals)
    else:
        place.index.audit()
    assert place.is_rebuilt()
    place.store.close()


def test_in_a_small_library_chance_is_no_reason(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for size in (60, 200):
        place.add_many(size - len(place.index))
        place.index.rebuild()
        place.add_many(size * 2 // 5)
        assert not place.is_rebuilt()
        place.index.rebuild()
        place.add_many(size * 2 // 5, 2 * ELSEWHERE)
        assert place.is_rebuilt()
        place.delete_many(place.index.current().index.ids())
    place.store.close()


def test_deleted_clips_take_their_part_of_the_mean_with_them(place: Place) -> None:
    elsewhere = place.add_many(CLIPS // 8, ELSEWHERE)
    place.index.rebuild()
    place.delete_many(elsewhere)
    assert place.is_rebuilt()
    place.assert_its_mean_is_taken_off()


def test_as_many_come_as_go(place: Place) -> None:
    place.delete_many(np.arange(1, CLIPS // 12))
    assert not place.is_rebuilt()
    place.add_many(CLIPS // 12, ELSEWHERE)
    assert place.is_rebuilt()


@pytest.mark.parametrize("saved", [True, False])
def test_a_restart_forgets_no_change(place: Place, saved: bool) -> None:
    place.index.save()
    place.add_many(CLIPS // 8, ELSEWHERE)
    if saved:
        place.index.save()
    place.open()
    assert place.is_rebuilt()
    place.index.save()
    place.open()
    assert not place.is_rebuilt()


def test_a_restart_is_no_change(place: Place) -> None:
    place.add_many(CLIPS // 20, 10 * ELSEWHERE)
    for _ in range(4):
        place.index.save()
        place.open()
        assert not place.is_rebuilt()


def test_not_more_often_than_a_tenth_has_changed(place: Place) -> None:
    part = CLIPS // 100
    for _ in range(2):
        parts = 0
        while not place.is_rebuilt():
            place.add_many(part, 100 * ELSEWHERE)
            parts += 1
        share = parts * part / (len(place.index) - parts * part)
        assert 0.1 <= share < 0.13


def test_what_comes_during_a_build_counts_as_changed_since(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = type(place.index)._build

    def slow(*arguments: object) -> object:
        made = build(*arguments)
        if not late:
            late.extend(place.add_many(CLIPS // 8, ELSEWHERE).tolist())
        return made

    late = list[int]()
    monkeypatch.setattr(type(place.index), "_build", slow)
    place.index.rebuild()
    assert place.is_rebuilt()
    place.assert_its_mean_is_taken_off()


def test_it_is_not_looked_at_again_before_more_has_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    drift = mean_watch.drift

    def counted(*arguments: np.ndarray) -> float:
        nonlocal looks
        looks += 1
        return drift(*arguments)

    monkeypatch.setattr(mean_watch, "drift", counted)
    place.add_many(CLIPS // 11)
    place.index.maintain()
    assert looks == 0
    for wanted in (1, 2, 3):
        place.add_many(CLIPS // 25)
        for _ in range(3):
            assert not place.is_rebuilt()
        assert looks == wanted


def test_of_many_clips_a_sample_tells_where_they_come_from(tmp_path: Path) -> None:
    """Also where those that alternate differ: two channels of each call."""
    place = Place(tmp_path)
    count = 3 * mean_watch.SAMPLE
    vectors = place.vectors(count)
    vectors[::2] += 3 * ELSEWHERE
    place.commit_many(vectors)
    place.index.rebuild()
    vectors = place.vectors(count // 8)
    vectors[::2] += 3 * ELSEWHERE
    for embeddings, wanted in ((vectors, False), (place.vectors(count // 8), True)):
        ids, removals = place.commit_many(embeddings), place.index.removals
        assert place.index.add_block(ids, embeddings, removals=removals)
        assert place.is_rebuilt() is wanted
    place.store.close()


def test_a_sample_follows_no_rhythm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_watch, "SAMPLE", 500)
    place = Place(tmp_path)
    vectors = np.zeros((2000, DIMENSION), np.float32)
    vectors[::2, 0] = 1
    vectors[:, 1] = np.arange(2000)
    sample = place.index._mean_watch._sample(place.commit_many(vectors))
    assert 450 < len(sample) <= 500
    assert 0.4 < sample[:, 0].mean() < 0.6
    assert np.diff(np.sort(sample[:, 1])).max() < 8  # each stretch has its part
    place.store.close()


def test_an_emptied_library_has_no_mean_to_compare(place: Place) -> None:
    place.index.remove(list(place.embeddings))
    assert not place.index._mean_watch.has_drifted(place.index.current().index)
