"""A graph finds the nearest also where it or its scores alone would miss them."""

import numpy as np
import pytest

import index.calibration
import index.candidates
import index.graph
import index.graph_index
from index.connect import connect
from index.contract import Ids, Vectors
from index.cosine import directions
from index.graph_index import GraphIndex
from tests.index.agreement import assert_same

N, DIMENSION, QUERIES, K = 12_000, 64, 40, 10


@pytest.fixture(autouse=True)
def no_small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred rows that pass are looked for as hundreds of thousands are."""
    monkeypatch.setattr(index.graph_index, "FEW", 50)
    monkeypatch.setattr(index.candidates, "FEW", 50)


@pytest.fixture(scope="module")
def voices() -> Vectors:
    """(N, D) around a few hundred speakers, most of what differs along few axes."""
    rng = np.random.default_rng(3)
    axes = np.linspace(1, 0.1, DIMENSION) ** 2
    speakers = rng.standard_normal((300, DIMENSION)) * axes
    drawn = speakers[rng.integers(0, 300, N)] + 0.6 * rng.standard_normal((N, DIMENSION)) * axes
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def built(voices: Vectors) -> GraphIndex:
    return graph_of(voices)


def graph_of(vectors: Vectors) -> GraphIndex:
    mean = np.zeros(vectors.shape[1], np.float32)
    return GraphIndex.build(mean, [(np.arange(1, len(vectors) + 1), vectors)], segment_rows=1000)


def recall(built: GraphIndex, asked: Vectors, allowed: list[Ids] | None = None) -> float:
    """Each direction (q, D) with the ids that it is allowed."""
    right = 0
    for at, one in enumerate(asked):
        its = None if allowed is None else allowed[at]
        [found] = built.search_directions(one[np.newaxis], K, allowed=its)
        [truth] = built.search_directions(one[np.newaxis], K, allowed=its, exact=True)
        assert len(found.ids) == len(truth.ids) == K
        right += int((found.similarities >= truth.similarities[-1]).sum())
    return right / (K * len(asked))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
def test_filters_that_let_nothing_near_the_query_through(built: GraphIndex, share: float) -> None:
    """The graph looks round where nothing passes, and sees enough that does on its way there."""
    [ids, rows] = built.directions_of(np.arange(1, N + 1))
    asked = rows[:QUERIES]
    least_similar_first = ids[np.argsort(asked @ rows.T, axis=1)]
    assert recall(built, asked, list(least_similar_first[:, : int(share * N)])) >= 0.99


def test_filters_that_hold_back_what_is_near(built: GraphIndex) -> None:
    """Enough passes near the query, but next to nothing nearest to it."""
    [ids, rows] = built.directions_of(np.arange(1, N + 1))
    asked = rows[:QUERIES]
    nearest_first = ids[np.argsort(-(asked @ rows.T), axis=1)]
    for nearest in (20, 100, 400):
        assert recall(built, asked, list(nearest_first[:, nearest:])) >= 0.99


def test_queries_unlike_the_library(built: GraphIndex, voices: Vectors) -> None:
    rng = np.random.default_rng(5)
    some = [voices[rng.integers(0, N, QUERIES)] for _ in range(5)]
    for asked in (sum(some), some[0] - some[1] / 2, -some[0], rng.standard_normal(some[0].shape)):
        unlike = directions(np.asarray(asked, np.float32), built.mean)
        assert recall(built, unlike) >= 0.99


def test_neighbours_that_differ_less_than_their_scores_tell() -> None:
    """Each speaker's clips differ only in what is not kept of their directions."""
    rng = np.random.default_rng(7)
    speakers = np.zeros((20, DIMENSION))
    speakers[:, :16] = rng.standard_normal((20, 16))
    within = np.zeros((6000, DIMENSION))
    within[:, 16:] = 0.05 * rng.standard_normal((6000, DIMENSION - 16))
    clips = (speakers[np.arange(6000) % 20] + within).astype(np.float32)
    built = graph_of(clips)
    assert built.graph.reducer.dimension == 16
    _, rows = built.directions_of(np.arange(1, 6001))
    assert recall(built, rows[:QUERIES]) >= 0.99


def test_rows_that_no_link_led_to() -> None:
    """The same few announcements over and over, each recording a little different."""
    rng = np.random.default_rng(9)
    announcements = rng.standard_normal((20, DIMENSION))
    clips = announcements[np.arange(6000) % 20] + 0.002 * rng.standard_normal((6000, DIMENSION))
    built = graph_of(clips.astype(np.float32))
    _, rows = built.directions_of(np.arange(1, 6001))
    assert connect(built.graph.faiss) == (0, 0)
    for hits in built.search_directions(rows[::10], K):
        assert hits.similarities[-1] > 0.9999


def test_a_graph_that_misses_too_much_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors without any likeness, and beams far too narrow for them."""
    monkeypatch.setattr(index.calibration, "WIDTHS", (1, 2))
    rng = np.random.default_rng(11)
    clips = rng.standard_normal((3000, DIMENSION)).astype(np.float32)
    built = graph_of(clips)
    assert built.beam.width > index.graph.MAX_BEAM
    assert recall(built, built.directions_of(np.arange(1, 41))[1]) == 1.0


def test_removed_rows_around_a_query_hide_nothing(voices: Vectors) -> None:
    built = graph_of(voices)
    [ids, rows] = built.directions_of(np.arange(1, N + 1))
    asked = rows[:5]
    nearest_first = ids[np.argsort(-(asked @ rows.T), axis=1)]
    built.remove(nearest_first[:, :1500].ravel())
    assert recall(built, asked) >= 0.99
    built.erase()
    assert recall(built, asked) >= 0.99


@pytest.mark.parametrize("allowed", [None, np.arange(1, N, 3)])
def test_what_is_found_does_not_depend_on_who_asks_at_the_same_time(
    voices: Vectors, allowed: Ids | None
) -> None:
    """Among them queries unlike any clip, and rows in the graph, reduced only, and in full."""
    built = graph_of(voices[:-900])
    built.add(np.arange(N - 899, N + 1), voices[-900:])
    rng = np.random.default_rng(7)
    [_, some] = built.directions_of(np.arange(1, N + 1, 700))
    unlike = rng.standard_normal((4, DIMENSION)).astype(np.float32)
    asked = directions(np.concatenate([some, unlike, some[:5] + some[5:10]]), built.mean)
    together = built.search_directions(asked, K, allowed=allowed)
    for one, hits in zip(asked, together, strict=True):
        [alone] = built.search_directions(one[np.newaxis], K, allowed=allowed)
        np.testing.assert_array_equal(hits.ids, alone.ids)
        np.testing.assert_array_equal(hits.similarities, alone.similarities)


def test_directions_of_ids_that_do_not_rise(voices: Vectors) -> None:
    rng = np.random.default_rng(11)
    ids = rng.permutation(3 * N)[:N] + 1
    mean = np.zeros(DIMENSION, np.float32)
    built = GraphIndex.build(mean, [(ids, voices)], segment_rows=1000)
    built.remove(ids[:50])
    built.add(ids[:25], voices[:25])
    rows = directions(voices, mean)
    wanted = np.concatenate([ids[:100], ids[:100], rng.integers(1, 3 * N, 5)])
    expected = {int(id): row for id, row in zip(ids, rows, strict=True) if id in wanted}
    for id in ids[25:50]:
        expected.pop(int(id), None)
    found, directions_found = built.directions_of(wanted)
    assert found.tolist() == sorted(expected)
    np.testing.assert_array_equal(directions_found, [expected[one] for one in sorted(expected)])
    for one in wanted.tolist():
        np.testing.assert_array_equal(built.direction_of(one), expected.get(one))


@pytest.mark.parametrize("equal", [40, 100, 500])
def test_equal_new_clips_come_by_rising_id(voices: Vectors, equal: int) -> None:
    mean = np.zeros(DIMENSION, np.float32)
    built = GraphIndex.build(mean, [(np.arange(1001, N + 1001), voices)])
    [one] = np.random.default_rng(5).standard_normal((1, DIMENSION)).astype(np.float32)
    built.add(np.random.default_rng(6).permutation(equal) + 1, np.tile(one, (equal, 1)))
    [hits] = built.search(one[np.newaxis], 5)
    assert hits.ids.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("exact", [False, True])
def test_queries_lie_in_memory_as_they_like(voices: Vectors, exact: bool) -> None:
    mean = np.zeros(DIMENSION, np.float32)
    built = GraphIndex.build(mean, [(np.arange(1, N + 1), voices)])
    asked = directions(voices[:9], mean)
    expected = built.search_directions(asked, K, exact=exact)
    for same in (np.asfortranarray(asked), np.repeat(asked, 2, axis=0)[::2]):
        assert_same(built.search_directions(same, K, exact=exact), expected)
