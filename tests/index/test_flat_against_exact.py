"""Any order of calls: the flat engine agrees with the reference to the last bit."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_same
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

import index.flat
import index.scan
import index.snapshot
from index.contract import Ids
from index.errors import VectorIndexError
from index.exact import ExactIndex
from index.flat import FlatIndex

HardVectors = Callable[[int, NDArray[np.float32], int], NDArray[np.float32]]


class FlatAgainstExact(RuleBasedStateMachine):
    """Any order of calls; a few vectors many times over, a few ids again and again."""

    hard_vectors: HardVectors

    @initialize(
        seed=st.integers(0, 99), dimension=st.sampled_from([1, 2, 3, 8, 64]), rows=st.integers(1, 9)
    )
    def begin(self, seed: int, dimension: int, rows: int) -> None:
        mean = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
        self.vectors = self.hard_vectors(seed, mean, 60)
        self.dimension, self.builds = dimension, 0
        self.flat = FlatIndex(dimension, mean, segment_rows=rows)
        self.exact = ExactIndex(dimension, mean)
        self.directory = Path(tempfile.mkdtemp())
        self.saved: tuple[list[int], int] | None = None

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    @rule(
        ids=st.lists(st.integers(-1, 50), max_size=20), start=st.integers(0, 40), bad=st.booleans()
    )
    def add(self, ids: list[int], start: int, bad: bool) -> None:
        vectors = self.vectors[start : start + len(ids)].copy()
        if bad and vectors.size:
            vectors[-1, -1] = np.nan
        refusals = []
        for one in (self.flat, self.exact):
            try:
                one.add(np.array(ids, np.int64), vectors)
            except VectorIndexError as error:
                refusals.append((type(error), str(error)))
        assert len(refusals) in (0, 2)
        assert len(set(refusals)) <= 1

    @rule(first=st.integers(1, 50), count=st.integers(1, 50), start=st.integers(0, 10))
    def add_many(self, first: int, count: int, start: int) -> None:
        ids = np.setdiff1d(np.arange(first, first + count), self.exact.ids())[::-1]
        for one in (self.flat, self.exact):
            one.add(ids, self.vectors[start : start + len(ids)])

    @rule(ids=st.lists(st.integers(-1, 60), max_size=30))
    def remove(self, ids: list[int]) -> None:
        given = np.array(ids, np.int64)
        assert self.flat.remove(given) == self.exact.remove(given)

    filters = st.none() | st.lists(st.integers(-1, 60), max_size=40).map(
        lambda ids: np.array(ids, np.int64)
    )

    @rule(
        rows=st.lists(st.integers(0, 59), max_size=3),
        k=st.integers(1, 110),
        allowed=filters,
        excluded=filters,
    )
    def search(self, rows: list[int], k: int, allowed: Ids | None, excluded: Ids | None) -> None:
        queries = self.vectors[rows]
        assert_same(
            self.flat.search(queries, k, allowed=allowed, excluded=excluded),
            self.exact.search(queries, k, allowed=allowed, excluded=excluded),
        )

    @rule(row=st.integers(0, 59), k=st.integers(1, 12))
    def search_all(self, row: int, k: int) -> None:
        queries = self.vectors[row : row + 1]
        assert_same(self.flat.search(queries, k), self.exact.search(queries, k))

    @rule()
    def compact(self) -> None:
        self.flat.compact()
        assert self.flat.memory_bytes == len(self.flat) * (4 * self.dimension + 9)

    @rule()
    def save(self) -> None:
        self.builds += 1
        index.snapshot.save(self.flat, self.directory, model_digest="m", build=self.builds)
        self.saved = self.exact.ids().tolist(), self.builds

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self) -> None:
        loaded, manifest = index.snapshot.load(
            self.directory, model_digest="m", dimension=self.dimension
        )
        assert (loaded.ids().tolist(), manifest.build) == self.saved
        assert manifest.count == len(loaded)

    @rule()
    def restart(self) -> None:
        self.save()
        self.flat, _ = index.snapshot.load(
            self.directory, model_digest="m", dimension=self.dimension
        )

    @invariant()
    def they_hold_the_same(self) -> None:
        if hasattr(self, "flat"):
            assert self.flat.ids().tolist() == self.exact.ids().tolist()
            assert len(self.flat) == len(self.exact)
            assert (7 in self.flat) == (7 in self.exact)


@pytest.fixture
def quick_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fetched to spare, so that ties are cut; few rows a segment; no waiting for disks."""
    monkeypatch.setattr(index.scan, "SPARE", 0)
    monkeypatch.setattr(index.flat, "rows_of_segment", lambda dimension: 5)
    monkeypatch.setattr(index.snapshot, "rows_of_segment", lambda dimension: 5)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("quick_and_small")
def test_flat_agrees_with_exact_whatever_happens(hard_vectors: HardVectors) -> None:
    FlatAgainstExact.hard_vectors = staticmethod(hard_vectors)
    run_state_machine_as_test(
        FlatAgainstExact,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
