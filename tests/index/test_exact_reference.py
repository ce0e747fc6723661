"""The reference against the formula it stands for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from index.exact import ExactIndex

Array = NDArray[np.float32]
_values = st.floats(-100, 100, width=32).map(lambda one: round(one, 2))


def cosine(query: Array, vectors: Array, mean: Array) -> NDArray[np.float64]:
    a, b = query.astype(float) - mean, vectors.astype(float) - mean
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 0, b @ a / np.where(lengths > 0, lengths, 1), 0)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Array, Array, Array, int]:
    dimension = draw(st.sampled_from([1, 2, 5, 64]))
    few = draw(arrays(np.float32, (draw(st.integers(1, 4)), dimension), elements=_values))
    vectors = few[draw(st.lists(st.integers(0, len(few) - 1), min_size=1, max_size=12))]
    mean = draw(arrays(np.float32, dimension, elements=_values) | st.just(few[0]))
    query = draw(arrays(np.float32, dimension, elements=_values) | st.sampled_from(list(few)))
    return query, vectors, mean, draw(st.integers(1, 15))


@given(searches())
def test_similarity_is_the_cosine_after_the_mean(case: tuple[Array, Array, Array, int]) -> None:
    query, vectors, mean, k = case
    ids = np.arange(len(vectors), 0, -1)
    index = ExactIndex(len(mean), mean)
    index.add(ids, vectors)
    [hits] = index.search(query[np.newaxis], k)
    expected = dict(zip(ids.tolist(), cosine(query, vectors, mean), strict=True))
    found = dict(zip(hits.ids.tolist(), hits.similarities.tolist(), strict=True))
    assert len(found) == min(k, len(vectors))
    for one, similarity in found.items():
        assert abs(similarity - expected[one]) < 1e-6 * max(1, np.sqrt(len(mean)))
        assert -1 <= similarity <= 1
    left_out = [expected[one] for one in expected.keys() - found.keys()]
    assert max(left_out, default=-1) <= hits.similarities[-1] + 1e-5


@given(searches())
def test_nearest_first_and_ties_by_lower_id(case: tuple[Array, Array, Array, int]) -> None:
    query, vectors, mean, k = case
    ids = np.random.default_rng(0).permutation(len(vectors)) + 1
    index = ExactIndex(len(mean), mean)
    index.add(ids, vectors)
    [hits] = index.search(query[np.newaxis], k)
    keys = list(zip((-hits.similarities).tolist(), hits.ids.tolist(), strict=True))
    assert keys == sorted(keys)
    for first in range(len(vectors)):  # among equal vectors the lowest ids come first
        equal = ids[(vectors == vectors[first]).all(axis=1)]
        shown = np.intersect1d(equal, hits.ids)
        assert shown.tolist() == sorted(equal.tolist())[: len(shown)]


@given(searches())
def test_equal_embeddings_are_at_exactly_one_or_have_no_direction(
    case: tuple[Array, Array, Array, int],
) -> None:
    _, vectors, mean, _ = case
    index = ExactIndex(len(mean), mean)
    index.add(np.arange(1, len(vectors) + 1), vectors)
    for one, vector in enumerate(vectors, 1):
        [hits] = index.search(vector[np.newaxis], 1, allowed=np.array([one]))
        assert hits.similarities[0] == (0.0 if (vector == mean).all() else 1.0)


@given(searches())
def test_similarity_is_the_same_either_way_round(case: tuple[Array, Array, Array, int]) -> None:
    query, vectors, mean, _ = case
    there, back = ExactIndex(len(mean), mean), ExactIndex(len(mean), mean)
    there.add(np.array([1]), vectors[:1])
    back.add(np.array([1]), query[np.newaxis])
    [one], [other] = there.search(query[np.newaxis], 1), back.search(vectors[:1], 1)
    assert one.similarities[0] == other.similarities[0]
