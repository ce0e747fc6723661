"""What scripts/bench_gpu.py says where there is a GPU, and where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from index import gpu_forms
from index.graph_index import GraphIndex
from scripts import bench_gpu
from tests.index.cpu_device import CpuDevice


def test_without_a_gpu_it_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="sees no such GPU"):
        bench_gpu.main(["--vectors", str(tmp_path), "--n", "100", "--bandwidth", "1000"])
    assert not list(tmp_path.iterdir())


def test_it_measures_speed_and_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_forms, "ROOM", 0)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5300, 16)).astype(np.float32)
    blocks = [(np.arange(1, 5001), vectors[:5000])]
    master = GraphIndex.build(vectors.mean(axis=0), blocks)
    told = bench_gpu.measure(master, CpuDevice(), vectors[5000:], 0.01, 1000)
    for size in bench_gpu.BATCHES:
        assert re.search(rf"^\| {size} \| [1-9]\d* \| \d+ % \| \d+ \| \d+ \|$", told, re.M), told
    recalls = [float(one) for one in re.findall(r"recall@10 ([\d.]+) with the GPU", told)]
    assert len(recalls) == 2
    assert min(recalls) >= 0.999
    assert told.count("; 0 similarities differ") == 2
    assert len(master) == 4750
