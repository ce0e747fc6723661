"""The overlap of neighbours before and after a re-embedding, against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.library import Library
from app.library.overlap import NEIGHBOURS, neighbour_overlap
from app.recogniser import Source
from tests.library import spaces_rig as rig


def test_it_is_that_of_the_spaces_that_are_searched(
    reopen: Callable[..., Library], second: Source
) -> None:
    library = reopen()
    ids = [rig.post(library, seed) for seed in range(3 * NEIGHBOURS)]
    beside = library.roles.open_beside(second)
    rig.hear_again(library, beside)
    beside.index.rebuild()
    near = []
    for space in library.spaces:
        found, rows = space.index.current().index.directions_of(np.array(ids))
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -np.inf)
        order = np.argsort(-similarity, axis=1)[:, :NEIGHBOURS]
        near.append({int(i): set(found[row].tolist()) for i, row in zip(found, order, strict=True)})
    shares = [len(near[0][i] & near[1][i]) / NEIGHBOURS for i in ids]
    overlap, asked = neighbour_overlap(library.store, *library.spaces)
    assert asked == len(ids)
    assert overlap is not None
    np.testing.assert_allclose(overlap, np.mean(shares), atol=0.004)
