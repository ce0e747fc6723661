"""Stands where a GPU would: FAISS's indexes of the same kinds, with a GPU's limits."""

from __future__ import annotations

import threading
import time
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from index.gpu import MAX_K


class CpuDevice:
    """`free` bytes of memory; `fails` makes the named call raise what FAISS raises when CUDA has no
    memory left, and each search takes `seconds` more."""

    def __init__(self, free: int = 1 << 40) -> None:
        self.lock = threading.Lock()
        self.free = free
        self.fails = ""
        self.seconds = 0.0
        self.searches = 0

    def free_bytes(self) -> int:
        return self.free

    def flat(self, dimension: int) -> Any:
        index = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        return Held(self, index)

    def lists(self, dimension: int, count: int) -> Any:
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimension),
            dimension,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        return Held(self, index)

    def call(self, name: str) -> None:
        assert self.lock.locked(), f"{name} without the lock"
        if self.fails == name:
            time.sleep(0.01)  # others come to wait for the lock
            raise RuntimeError(
                "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory: alloc "
                "fail type TemporaryMemoryOverflow (cudaMalloc error out of memory [2])"
            )


class Held:
    """An index of FAISS's that a device holds."""

    def __init__(self, device: CpuDevice, index: Any) -> None:
        self._device = device
        self._index = index

    def train(self, rows: NDArray[np.float32]) -> None:
        self._device.call("train")
        self._index.train(rows)

    def add(self, rows: NDArray[np.float32]) -> None:
        self._device.call("add")
        self._index.add(rows)

    def add_with_ids(self, rows: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        self._device.call("add")
        self._index.add_with_ids(rows, ids)

    def search(
        self, asked: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._device.call("search")
        assert 1 <= wanted <= MAX_K
        self._device.searches += 1
        time.sleep(self._device.seconds)
        scores, places = self._index.search(asked, wanted)
        return scores, places

    @property
    def nprobe(self) -> int:
        return int(self._index.nprobe)

    @nprobe.setter
    def nprobe(self, count: int) -> None:
        assert 1 <= count <= MAX_K
        self._index.nprobe = count
