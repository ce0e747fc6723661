"""What an index tells of its own rows, so that damage can be found."""

from collections.abc import Callable
from dataclasses import replace

import faiss
import numpy as np
import pytest

import index.graph_index
from index.contract import Ids
from index.graph_index import GraphIndex

DIMENSION = 6
RNG = np.random.default_rng(12)


def ids_of(*numbers: int) -> Ids:
    return np.array(numbers, np.int64)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> GraphIndex:
    """Rows in the graph, in the list behind it and after that; some of each removed."""
    monkeypatch.setattr(index.graph_index, "OPEN", 7)
    vectors = RNG.standard_normal((70, DIMENSION)).astype(np.float32)
    made = GraphIndex.build(
        np.zeros(DIMENSION, np.float32), [(np.arange(1, 51), vectors[:50])], segment_rows=16
    )
    made.add(np.arange(51, 61), vectors[50:60])
    made.add(np.arange(61, 65), vectors[60:64])
    made.remove(ids_of(3, 20, 55, 62))
    return made


def test_a_sound_graph_index_misplaces_nothing(graph: GraphIndex) -> None:
    assert (graph.graph.covered, graph._moment.closed, len(graph)) == (50, 60, 60)
    assert graph.misplaced == 0
    graph.grow()
    assert graph.misplaced == 0
    graph.erase()
    assert graph.misplaced == 0
    graph.remove(graph.ids())
    assert graph.misplaced == 0


def change_segment(graph: GraphIndex, at: int, **changes: int) -> None:
    segments = list(graph._moment.segments)
    segments[at] = replace(segments[at], **changes)
    graph._moment = replace(graph._moment, segments=tuple(segments))


def lose_the_last_segments(graph: GraphIndex) -> None:
    graph._moment = replace(graph._moment, segments=graph._moment.segments[:3])


def cut_a_segment(graph: GraphIndex) -> None:
    change_segment(graph, 1, count=15)


def forget_what_was_removed(graph: GraphIndex) -> None:
    graph._moment = replace(graph._moment, alive=None)


def hide_a_row(graph: GraphIndex) -> None:
    assert graph._moment.alive is not None
    bits = graph._moment.alive.copy()
    bits[0] &= 0b11111110
    graph._moment = replace(graph._moment, alive=bits)


def lose_bytes(graph: GraphIndex) -> None:
    codes = faiss.downcast_index(graph.graph.faiss.storage)
    codes.ntotal -= 1


def lose_links(graph: GraphIndex) -> None:
    graph.graph.faiss.hnsw.levels.resize(48)


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        (lose_the_last_segments, 12),
        (cut_a_segment, 32 + 29),
        (forget_what_was_removed, 2),
        (hide_a_row, 1),
        (lose_bytes, 1),
        (lose_links, 2),
    ],
)
def test_a_graph_that_does_not_fit_its_rows_is_told(
    graph: GraphIndex, damage: Callable[[GraphIndex], None], rows: int
) -> None:
    damage(graph)
    assert graph.misplaced >= rows
