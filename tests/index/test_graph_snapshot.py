"""Snapshots of graph indexes: old ones load, a kill leaves the old or the new one."""

import shutil
from pathlib import Path

import numpy as np
from killed import save_in_a_process_killed_at

from index import snapshot
from index.graph import Beam
from index.graph_index import GraphIndex
from index.row_files import RowFiles

MODEL, DIMENSION = "sha256:0123", 6
GOLDEN = Path(__file__).parent / "golden-graph"


def test_golden_snapshot_of_format_2_still_loads(tmp_path: Path) -> None:
    directory = shutil.copytree(GOLDEN, tmp_path / "golden")
    index, read = snapshot.load(directory, model_digest="golden", dimension=4)
    assert isinstance(index, GraphIndex)
    assert (read.build, read.count, read.built_on, len(index)) == (5, 22, 3, 20)
    assert index.mean.tolist() == [0.5, 0.25, 0, 0]
    assert index.beam == Beam(64, 0.0)  # of when snapshots did not tell how near queries are
    found = set(index.ids().tolist())
    assert found == {7, 20, 30, 2**40, *range(101, 118)} - {105}
    query = np.array([[1.5, 0.25, 0, 0]], np.float32)
    for exact in (True, False):
        [hits] = index.search(query, 20, exact=exact)
        assert set(hits.ids.tolist()) == found
        assert (hits.ids[0], hits.similarities[0]) == (20, 1)
        assert (hits.ids[-1], hits.similarities[-1]) == (30, -1)
        assert hits.similarities[np.isin(hits.ids, [7, 2**40])].tolist() == [0, 0]
    index.add(np.array([500]), query)
    assert index.search(query, 1)[0].ids.tolist() == [20]
    snapshot.save(index, directory, model_digest=MODEL, build=6)
    assert len(snapshot.load(directory, model_digest=MODEL, dimension=4)[0]) == 21


def test_a_killed_save_of_a_graph_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((90, DIMENSION)).astype(np.float32)
    first = tmp_path / "first"
    index = GraphIndex.build(
        np.zeros(DIMENSION, np.float32),
        [(np.arange(1, 71), vectors[:70])],
        make=RowFiles(first),
        segment_rows=16,
    )
    index.beam = Beam(80, 0.75)
    snapshot.save(index, first, model_digest=MODEL, build=3)
    old, new = list(range(1, 71)), [i for i in range(1, 91) if i % 7]
    outcomes, line, finished = [], 1, False
    while not finished:
        directory = tmp_path / f"killed-{line}"
        shutil.copytree(first, directory)
        copy, _ = snapshot.load(directory, model_digest=MODEL, dimension=DIMENSION)
        copy.add(np.arange(71, 91), vectors[70:])
        copy.remove(np.arange(0, 91, 7))
        finished = save_in_a_process_killed_at(line, copy, directory, MODEL)
        loaded, read = snapshot.load(directory, model_digest=MODEL, dimension=DIMENSION)
        assert loaded.ids().tolist() == {3: old, 4: new}[read.build]
        assert loaded.beam == index.beam
        outcomes.append(read.build)
        snapshot.save(loaded, directory, model_digest=MODEL, build=5)
        reread, _ = snapshot.load(directory, model_digest=MODEL, dimension=DIMENSION)
        assert reread.ids().tolist() == loaded.ids().tolist()
        del copy, loaded, reread
        shutil.rmtree(directory)
        line += 5
    assert outcomes == sorted(outcomes)
    assert outcomes.count(3) > 10
    assert outcomes.count(4) >= 2
