"""Every engine keeps the contract; the flat one agrees with the reference to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import assert_same
from numpy.typing import NDArray

import index.flat
import index.graph_index
import index.scan
import index.segments
import index.snapshot
from index.contract import Ids, VectorIndex, Vectors
from index.cosine import checked_mean, directions
from index.errors import (
    AlreadyPresent,
    InvalidIds,
    NotFinite,
    VectorIndexError,
    WrongDimension,
)
from index.exact import ExactIndex
from index.flat import FlatIndex
from index.graph_index import GraphIndex
from index.segments import Mask, passing

Make = Callable[[int, Vectors | None], VectorIndex]
HardVectors = Callable[[int, NDArray[np.float32], int], NDArray[np.float32]]


def ids_of(*numbers: int) -> Ids:
    return np.array(numbers, np.int64)


def graph(dimension: int, mean: Vectors | None) -> GraphIndex:
    """Empty, but for the place of a row that was removed: a graph is built of something."""
    mean = checked_mean(mean, dimension)  # the mean decides on the dimension here
    made = GraphIndex.build(mean, [(ids_of(10**12), mean[np.newaxis] + 1)], segment_rows=3)
    made.remove(ids_of(10**12))
    return made


@pytest.fixture(params=["exact", "flat", "flat in segments", "graph"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(index.graph_index, "FEW", 0)
    monkeypatch.setattr(index.graph_index, "OPEN", 2)
    engines: dict[str, Make] = {
        "graph": graph,
        "exact": ExactIndex,
        "flat": FlatIndex,
        "flat in segments": lambda dimension, mean: FlatIndex(dimension, mean, segment_rows=3),
    }
    return engines[request.param]


def test_an_empty_index_answers(make: Make) -> None:
    empty = make(3, None)
    assert len(empty) == 0
    assert 1 not in empty
    assert empty.ids().tolist() == []
    assert empty.remove(ids_of(1)) == 0
    [hits] = empty.search(np.ones((1, 3), np.float32), 5)
    assert hits.ids.tolist() == []
    assert hits.similarities.tolist() == []
    assert empty.search(np.empty((0, 3), np.float32), 5) == []


@pytest.mark.parametrize(
    ("ids", "vectors", "error"),
    [
        ([4], np.ones((1, 2)), WrongDimension),
        ([4], np.ones(3), WrongDimension),
        ([4, 5], np.array([[1, 2, 3], [1, np.nan, 3]]), NotFinite),
        ([4, 5], np.array([[1, 2, 3], [1, -np.inf, 3]]), NotFinite),
        ([4], np.full((1, 3), 1e300), NotFinite),
        ([4], np.ones((2, 3)), InvalidIds),
        ([4, 4], np.ones((2, 3)), InvalidIds),
        ([4, 0], np.ones((2, 3)), InvalidIds),
        ([4, -1], np.ones((2, 3)), InvalidIds),
        ([4.5], np.ones((1, 3)), InvalidIds),
        ([[4]], np.ones((1, 3)), InvalidIds),
        ([4, 2, 5, 1], np.ones((4, 3)), AlreadyPresent),
    ],
)
def test_a_refused_add_adds_nothing(
    make: Make, ids: list[int], vectors: Vectors, error: type[VectorIndexError]
) -> None:
    some = make(3, None)
    some.add(ids_of(1, 2), np.eye(3, dtype=np.float32)[:2])
    with pytest.raises(error):
        some.add(np.array(ids), vectors)
    assert some.ids().tolist() == [1, 2]
    assert len(some.search(np.ones((1, 3), np.float32), 9)[0].ids) == 2


def test_already_present_ids_are_named(make: Make) -> None:
    some = make(1, None)
    some.add(ids_of(7, 3, 5, 9), np.ones((4, 1), np.float32))
    with pytest.raises(AlreadyPresent) as caught:
        some.add(ids_of(9, 1, 3), np.ones((3, 1), np.float32))
    assert caught.value.ids == [3, 9]


def test_directions_are_given_for_ids_in_any_form(make: Make) -> None:
    mean = np.array([0.5, 0, 0], np.float32)
    some = make(3, mean)
    ids = ids_of(8, 3, 5, 1, 9, 4, 7)
    vectors = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)
    vectors[2] = mean
    some.add(ids, vectors)
    some.remove(ids_of(9))
    for wanted in (ids_of(), ids_of(2, 9, 10**15), ids_of(7, 5, 7, 0, -3, 8, 9, 1), ids):
        found, rows = some.directions_of(wanted)
        assert found.tolist() == sorted(set(wanted.tolist()) & set(some.ids().tolist()))
        assert (found.dtype, rows.dtype, rows.shape) == (np.int64, np.float32, (len(found), 3))
        for one, row in zip(found.tolist(), rows, strict=True):
            [expected] = directions(vectors[ids == one], mean)
            assert row.tobytes() == expected.tobytes()
            alone = some.direction_of(one)
            assert alone is not None
            assert alone.tobytes() == expected.tobytes()
    for gone in (2, 9, -3, 10**25):
        assert some.direction_of(gone) is None
    with pytest.raises(InvalidIds):
        some.directions_of(np.array([1.5]))


def test_unfit_searches_are_refused(make: Make) -> None:
    some = make(3, None)
    some.add(ids_of(1), np.ones((1, 3), np.float32))
    with pytest.raises(WrongDimension):
        some.search(np.ones((1, 4), np.float32), 1)
    with pytest.raises(NotFinite):
        some.search(np.full((1, 3), np.nan, np.float32), 1)
    with pytest.raises(InvalidIds):
        some.search(np.ones((1, 3), np.float32), 1, allowed=np.array(["a"]))
    with pytest.raises(ValueError, match="k is 0"):
        some.search(np.ones((1, 3), np.float32), 0)


def test_a_mean_that_does_not_fit_is_refused(make: Make) -> None:
    with pytest.raises(WrongDimension):
        make(3, np.ones(2, np.float32))
    with pytest.raises(NotFinite):
        make(2, np.array([1, np.inf], np.float32))
    with pytest.raises(WrongDimension):
        make(0, None)


def test_filters_take_ids_in_any_form(make: Make) -> None:
    some = make(2, None)
    some.add(ids_of(5, 1, 9, 4), np.array([[1, 0], [1, 1], [0, 1], [-1, 0]], np.float32))
    query = np.array([[1, 0]], np.float32)

    def found(**filters: Ids) -> list[int]:
        [hits] = some.search(query, 10, **filters)
        return [int(one) for one in hits.ids]

    assert found() == [5, 1, 9, 4]
    assert found(allowed=ids_of(9, 9, 77, -3, 5)) == [5, 9]
    assert found(allowed=ids_of()) == []
    assert found(allowed=np.array([])) == []
    assert found(excluded=ids_of(77, 1, 1)) == [5, 9, 4]
    assert found(allowed=ids_of(1, 4, 9), excluded=ids_of(4)) == [1, 9]
    assert found(allowed=ids_of(1, 2**62)) == [1]


def test_arrays_of_the_caller_stay_as_they_were(make: Make) -> None:
    mean, vectors = np.ones(2, np.float32), np.array([[3, 4], [1, 1]], np.float32)
    some = make(2, mean)
    some.add(ids_of(2, 1), vectors)
    some.search(vectors, 1, allowed=ids_of(2, 1))
    assert mean.tolist() == [1, 1]
    assert vectors.tolist() == [[3, 4], [1, 1]]
    mean[:], vectors[:] = 7, 7
    assert some.mean.tolist() == [1, 1]
    assert some.search(np.array([[3, 4]], np.float32), 1)[0].similarities.tolist() == [1.0]
    with pytest.raises(ValueError, match="read-only"):
        some.mean[0] = 2


def test_an_id_can_come_back_with_another_vector(make: Make) -> None:
    some = make(2, None)
    some.add(ids_of(1, 2), np.array([[1, 0], [0, 1]], np.float32))
    assert some.remove(ids_of(1, 5, 1)) == 1
    assert 1 not in some
    assert 2 in some
    assert "1" not in some
    assert 2**70 not in some
    some.add(ids_of(1), np.array([[-1, 0]], np.float32))
    [hits] = some.search(np.array([[1, 0]], np.float32), 5)
    assert hits.ids.tolist() == [2, 1]
    assert hits.similarities.tolist() == [0.0, -1.0]


def test_stored_is_of_one_moment(make: Make) -> None:
    some = make(2, None)
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
    some.add(ids_of(4, 3, 2, 1), vectors)
    some.remove(ids_of(3))
    stored = some.stored()
    some.add(ids_of(8), vectors[:1])
    some.remove(ids_of(4, 2))
    rows = np.concatenate(list(stored.directions))
    kept = dict(zip(stored.ids.tolist(), rows.tolist(), strict=True))
    assert kept == {4: [1, 0], 2: vectors[2].tolist(), 1: [-1, 0]}


def test_ties_beyond_what_is_fetched_still_go_to_the_lowest_ids() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3000, 16)).astype(np.float32)
    vectors[rng.choice(3000, 1500, replace=False)] = vectors[0]
    ids = rng.permutation(3000) + 1
    flat, exact = FlatIndex(16, segment_rows=700), ExactIndex(16)
    for one in (flat, exact):
        one.add(ids, vectors)
    for k in (1, 10, 200, 1400, 1600, 5000):
        assert_same(flat.search(vectors[:3], k), exact.search(vectors[:3], k))
        half = ids[::2]
        assert_same(
            flat.search(vectors[:3], k, allowed=half), exact.search(vectors[:3], k, allowed=half)
        )


@pytest.mark.parametrize("dimension", [2, 64, 1024])
def test_near_ties_that_float32_cannot_order(
    dimension: int, hard_vectors: HardVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.scan, "SPARE", 0)
    mean = np.random.default_rng(1).standard_normal(dimension).astype(np.float32)
    vectors = hard_vectors(5, mean, 400)
    flat, exact = FlatIndex(dimension, mean, segment_rows=150), ExactIndex(dimension, mean)
    for one in (flat, exact):
        one.add(np.arange(1, 401), vectors)
    for k in (1, 3, 30, 77):
        assert_same(flat.search(vectors[:20], k), exact.search(vectors[:20], k))


def test_one_query_or_many_give_the_same() -> None:
    vectors = np.random.default_rng(2).standard_normal((900, 48)).astype(np.float32)
    flat = FlatIndex(48, segment_rows=400)
    flat.add(np.arange(1, 901), vectors)
    together = flat.search(vectors[:70], 5)
    assert_same(together, [flat.search(one[np.newaxis], 5)[0] for one in vectors[:70]])


def test_near_parallel_vectors_stay_within_one(hard_vectors: HardVectors) -> None:
    for seed in range(20):
        mean = np.random.default_rng(seed).standard_normal(3).astype(np.float32)
        vectors = hard_vectors(seed, mean, 100)
        flat = FlatIndex(3, mean)
        flat.add(np.arange(1, 101), vectors)
        found = np.concatenate([hits.similarities for hits in flat.search(vectors, 100)])
        assert (found.min(), found.max()) == (-1.0, 1.0)


def test_an_add_that_fails_half_way_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = FlatIndex(1024, segment_rows=100)
    flat.add(ids_of(1), np.ones((1, 1024), np.float32))
    calls = 0

    def failing(vectors: Vectors, mean: Vectors) -> Vectors:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError
        return directions(vectors, mean)

    monkeypatch.setattr(index.segments, "directions", failing)
    vectors = np.random.default_rng(0).standard_normal((600, 1024)).astype(np.float32)
    with pytest.raises(MemoryError):
        flat.add(np.arange(2, 602), vectors)
    assert flat.ids().tolist() == [1]
    flat.add(np.arange(2, 602), vectors)
    [hits] = flat.search(vectors[7:8], 1)
    assert (hits.ids.tolist(), hits.similarities.tolist()) == ([9], [1.0])


def test_a_search_sees_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    flat = FlatIndex(4, segment_rows=8)
    flat.add(np.arange(1, 31), vectors[:30])
    before = flat.search(vectors[:3], 40)

    def meanwhile(*arguments: Any) -> list[Mask]:
        masks = passing(*arguments)
        flat.remove(np.arange(1, 20))
        flat.add(np.arange(50, 60), vectors[30:])
        return masks

    with monkeypatch.context() as patch:
        patch.setattr(index.flat, "passing", meanwhile)
        assert_same(flat.search(vectors[:3], 40), before)
    assert len(flat.search(vectors[:1], 40)[0].ids) == 21


def test_removing_gives_memory_back() -> None:
    vectors = np.random.default_rng(2).standard_normal((1000, 8)).astype(np.float32)
    flat = FlatIndex(8, segment_rows=100)
    flat.add(np.arange(1, 1001), vectors)
    full = flat.memory_bytes
    flat.remove(np.arange(1, 1001, 2))
    assert flat.memory_bytes <= full / 2
    flat.remove(ids_of(2))
    flat.compact()
    assert flat.memory_bytes == 499 * full / 1000


def test_neither_dead_rows_nor_sparse_segments_pile_up() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((150, 8)).astype(np.float32)
    flat = FlatIndex(8, segment_rows=100)
    for turn in range(1, 201):
        count = int(rng.integers(1, 150))
        flat.add(1000 * turn + np.arange(count), vectors[:count])
        ids = flat.ids()
        flat.remove(rng.choice(ids, len(ids) // 6, replace=False))
        flat.remove(ids[-60:])
        assert flat.memory_bytes <= len(flat) * (4 * 8 + 9) / 0.75
        assert len(flat._segments) <= len(flat) / 75 + 1
