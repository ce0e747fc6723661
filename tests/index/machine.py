"""Any order of calls on a library's index, as the service makes them, against the reference."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

import index.build
import index.candidates
import index.flat
import index.graph_index
import index.mean
import index.snapshot
from index import snapshot
from index.build import Engine, build, is_outgrown
from index.contract import Hits, Ids, Vectors
from index.errors import SnapshotError
from index.exact import ExactIndex
from index.graph_index import GraphIndex
from index.manifest import Manifest
from index.row_files import RowFiles

DIMENSION = 24


def lower_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a hundred clips go through all that a million do."""
    monkeypatch.setattr(index.build, "GRAPH_BYTES", 4 * DIMENSION * 80)
    monkeypatch.setattr(index.mean, "SETTLED_SIZE", 40)
    monkeypatch.setattr(index.graph_index, "FEW", 8)
    monkeypatch.setattr(index.candidates, "FEW", 8)
    monkeypatch.setattr(index.graph_index, "OPEN", 5)
    monkeypatch.setattr(index.graph_index, "TAIL", 20)
    for module in (index.graph_index, index.flat, index.snapshot):
        monkeypatch.setattr(module, "rows_of_segment", lambda dimension: 16)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def flip(path: Path, at: int) -> None:
    """One bit, in place: the file may be mapped."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


class Library(RuleBasedStateMachine):
    """`truth` stands for the database. Counts of what happened are kept over all runs."""

    seen: ClassVar[Counter[str]] = Counter()
    steps = 0  # each is one call, but the first of a run, which is some forty
    found = there = 0  # of the nearest: what recall is made of

    @initialize(seed=st.integers(0, 9), count=st.sampled_from([0, 1, 70, 150]), hard=st.booleans())
    def begin(self, seed: int, count: int, hard: bool) -> None:
        self.seen["runs"] += 1
        self.draw = np.random.default_rng(seed)
        self.pool = self.draw.standard_normal((400, DIMENSION)).astype(np.float32) + 1
        if hard:  # the same few vectors over and over
            self.pool = self.pool[self.draw.integers(0, 12, 400)]
        self.directory = Path(tempfile.mkdtemp())
        self.rows = RowFiles(self.directory)
        self.truth = {i: self.pool[i % 400] for i in range(1, count + 1)}
        self.next_id = count + 1
        self.saved = False
        self.rebuild()
        self.live_through_it_all()

    def live_through_it_all(self) -> None:
        """Growth to a graph and of it, erasure, a restart, shrinking back: once in every run."""
        for count, share in ((2, 0.1), (100, 0.1), (30, 0.1), (6, 0.6), (100, 0.9)):
            self.add(count, 0)
            self.look_around()
            self.maintain()
            self.look_around()
            self.remove(share)
            self.save()
            self.look_around()
            self.crash()
            self.maintain()
            self.look_around()

    def look_around(self) -> None:
        self.search(3, 7, False)
        self.search_filtered(5, [1, 2], 0.5)
        self.search_where_nothing_near_passes(5, 3, 0.5)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    def blocks(self) -> Iterator[tuple[Ids, Vectors]]:
        ids = sorted(self.truth)
        for start in range(0, len(ids), 7):
            some = ids[start : start + 7]
            yield np.array(some, np.int64), np.stack([self.truth[i] for i in some])

    def use(self, engine: Engine) -> None:
        self.engine = engine
        self.exact = ExactIndex(DIMENSION, engine.mean)
        for ids, vectors in self.blocks():
            self.exact.add(ids, vectors)

    @rule()
    def rebuild(self) -> None:
        self.use(build(self.blocks, DIMENSION, np.zeros(DIMENSION), self.rows))
        self.built_on = len(self.truth)
        self.seen["rebuild"] += 1
        self.seen[type(self.engine).__name__] += 1

    @rule()
    def maintain(self) -> None:
        if is_outgrown(self.engine, self.built_on):
            self.rebuild()
        elif isinstance(self.engine, GraphIndex) and self.engine.wants_to_grow:
            self.engine.grow()
            self.seen["grow"] += 1

    @rule(count=st.sampled_from([1, 2, 6, 40]), start=st.integers(0, 399))
    def add(self, count: int, start: int) -> None:
        ids = np.arange(self.next_id, self.next_id + count)
        self.next_id += count  # never given twice, as the database does it
        vectors = self.pool[(np.arange(count) + start) % 400]
        self.engine.add(ids, vectors)
        self.exact.add(ids, vectors)
        self.truth.update(zip(ids.tolist(), vectors, strict=True))

    @rule(share=st.sampled_from([0.02, 0.1, 0.5]))
    def remove(self, share: float) -> None:
        ids = np.array(sorted(self.truth), np.int64)
        gone = ids[self.draw.random(len(ids)) < share]
        assert self.engine.remove(gone) == self.exact.remove(gone)
        for one in gone.tolist():
            del self.truth[one]

    @rule(k=st.integers(1, 12), row=st.integers(0, 399), far=st.booleans())
    def search(self, k: int, row: int, far: bool) -> None:
        query = -self.pool[row] if far else self.pool[row]
        self.compare(query[np.newaxis], k, None, None)

    @rule(
        k=st.integers(1, 30), rows=st.lists(st.integers(0, 399), max_size=3), share=st.floats(0, 1)
    )
    def search_filtered(self, k: int, rows: list[int], share: float) -> None:
        ids = np.array(sorted(self.truth), np.int64)
        allowed = np.append(ids[self.draw.random(len(ids)) < share], 10**9)
        excluded = self.draw.permutation(ids)[:3]
        self.compare(self.pool[rows], k, allowed, excluded)

    @rule(k=st.integers(1, 30), row=st.integers(0, 399), share=st.floats(0, 1))
    def search_where_nothing_near_passes(self, k: int, row: int, share: float) -> None:
        ids, directions = self.exact.directions_of(np.array(sorted(self.truth), np.int64))
        asked = self.pool[row] - self.engine.mean
        nearest_last = ids[np.argsort(directions @ asked, kind="stable")]
        allowed = nearest_last[: int(share * len(ids))]
        self.compare(self.pool[row : row + 1], k, allowed, None)

    @rule(k=st.integers(1, 12), rows=st.lists(st.integers(0, 399), min_size=2, max_size=5))
    def search_unlike_any(self, k: int, rows: list[int]) -> None:
        """As with examples: the mean of some, less another."""
        query = self.pool[rows[1:]].mean(axis=0) - self.pool[rows[0]] / 2
        self.compare(query[np.newaxis], k, None, None)

    @rule(k=st.integers(1, 200))
    def search_exactly(self, k: int) -> None:
        [found] = self.engine.search(self.pool[:1], k, exact=True)
        [expected] = self.exact.search(self.pool[:1], k)
        assert found.ids.tolist() == expected.ids.tolist()

    def compare(self, queries: Vectors, k: int, allowed: Ids | None, excluded: Ids | None) -> None:
        found = self.engine.search(queries, k, allowed=allowed, excluded=excluded)
        expected = self.exact.search(queries, k, allowed=allowed, excluded=excluded)
        assert len(found) == len(expected)
        for query, one, other in zip(queries, found, expected, strict=True):
            self.compare_hits(query, one, other)
            self.seen[f"search of {type(self.engine).__name__}"] += 1

    def compare_hits(self, query: NDArray[np.float32], found: Hits, expected: Hits) -> None:
        """As many, true similarities, in order; recall is counted."""
        assert len(found.ids) == len(expected.ids) == len(set(found.ids.tolist()))
        if not len(found.ids):
            return
        [true] = self.exact.search(query[np.newaxis], len(self.truth), allowed=found.ids)
        assert found.ids.tolist() == true.ids.tolist()
        assert found.similarities.tolist() == true.similarities.tolist()
        type(self).there += len(expected.ids)
        type(self).found += int((found.similarities >= expected.similarities.min()).sum())

    @rule()
    def save(self) -> None:
        snapshot.save(
            self.engine, self.directory, model_digest="m", build=0, built_on=self.built_on
        )
        self.saved = True
        self.seen["save"] += 1

    @rule()
    def crash(self) -> None:
        """Start again from the last snapshot, brought up to the database."""
        del self.engine
        self.rows = RowFiles(self.directory)
        if not self.saved:
            self.rebuild()
            return
        engine, manifest = snapshot.load(
            self.directory, model_digest="m", dimension=DIMENSION, rows=self.rows
        )
        wanted = np.array(sorted(self.truth), np.int64)
        engine.remove(np.setdiff1d(engine.ids(), wanted))
        missing = np.setdiff1d(wanted, engine.ids()).tolist()
        if missing:
            engine.add(np.array(missing), np.stack([self.truth[i] for i in missing]))
        self.built_on = manifest.built_on or 0
        self.use(engine)
        self.seen[f"load of {type(engine).__name__}"] += 1

    @rule(place=st.integers(0, 10**6))
    def damage(self, place: int) -> None:
        """A flipped byte anywhere in the snapshot is noticed."""
        if not self.saved:
            return
        manifest = Manifest.read(self.directory / "manifest.json")
        rows = manifest.graph.segments if manifest.graph else ()
        used = {one.name: 128 + 4 * DIMENSION * one.count for one in rows}  # behind: not named yet
        names = sorted({*manifest.names, "manifest.json"})
        path = self.directory / names[place % len(names)]
        at = place % used.get(path.name, path.stat().st_size)
        flip(path, at)
        try:
            with pytest.raises(SnapshotError):
                snapshot.load(self.directory, model_digest="m", dimension=DIMENSION)
        finally:
            flip(path, at)
        self.seen["damage"] += 1

    @invariant()
    def they_hold_the_same(self) -> None:
        if hasattr(self, "engine"):
            Library.steps += 1
            assert self.engine.ids().tolist() == sorted(self.truth)
            assert len(self.engine) == len(self.truth)
