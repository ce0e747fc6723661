"""Groups hold what is linked and never what is to stay apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.analysis.groups import Ids, groups

PAIRS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)).filter(lambda p: p[0] != p[1]))


def as_pairs(pairs: list[tuple[int, int]]) -> Ids:
    return np.array(pairs, np.int64).reshape(-1, 2)


def found(linked: list[tuple[int, int]], apart: list[tuple[int, int]]) -> list[list[int]]:
    return [its.tolist() for its in groups(as_pairs(linked), as_pairs(apart))]


@given(PAIRS)
def test_without_anything_to_keep_apart_they_are_what_links_reach(
    linked: list[tuple[int, int]],
) -> None:
    reached = {one: {one} for pair in linked for one in pair}
    for one, other in linked:
        both = reached[one] | reached[other]
        reached |= dict.fromkeys(both, both)
    assert found(linked, []) == sorted(
        {tuple(sorted(its)): sorted(its) for its in reached.values()}.values()
    )


@given(PAIRS, PAIRS)
def test_nothing_that_is_to_stay_apart_is_together_and_no_more_is_left_out(
    linked: list[tuple[int, int]], apart: list[tuple[int, int]]
) -> None:
    answer = found(linked, apart)
    group_of = {one: set(its) for its in answer for one in its}
    assert sum(len(its) for its in answer) == len(group_of)
    barred = {frozenset(pair) for pair in apart}
    for its in answer:
        assert not any(pair <= set(its) for pair in barred)
    for one, other in linked:
        mine, others = group_of.get(one, {one}), group_of.get(other, {other})
        if mine != others:
            assert any(pair <= mine | others for pair in barred)


def test_the_surest_link_comes_first() -> None:
    assert found([(1, 2), (2, 3)], [(1, 3)]) == [[1, 2]]
    assert found([(2, 3), (1, 2)], [(1, 3)]) == [[2, 3]]
    assert found([(5, 6), (1, 2), (2, 3)], [(1, 3), (5, 9)]) == [[1, 2], [5, 6]]


def test_none() -> None:
    assert found([], [(1, 2)]) == []
