"""A GPU as FAISS uses it: all lines that need one, and the extra `gpu`."""

from __future__ import annotations

import ctypes
import threading
from typing import Final, Protocol

import faiss

MAX_K: Final = 2048  # neighbours, and lists looked at, that FAISS's kernels can choose


class Device(Protocol):
    """Makes empty FAISS indexes, compared by inner product, where they are to be held.

    FAISS lets one thread at a time use the indexes of one GPU, also to free them: whoever does
    holds `lock`.
    """

    lock: threading.Lock

    def free_bytes(self) -> int:
        """Memory that nobody has taken. Raises RuntimeError when that cannot be told."""

    def flat(self, dimension: int) -> faiss.Index:
        """Compares with every vector, kept in half precision."""

    def lists(self, dimension: int, count: int) -> faiss.IndexIVF:
        """To be trained: vectors in half precision, in `count` lists of which few are looked at."""


class Gpu:
    """One NVIDIA GPU, by its number; see Device."""

    def __init__(self, number: int) -> None:
        self.lock = threading.Lock()
        self._number = number
        self._resources = faiss.StandardGpuResources()

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        try:
            cuda = ctypes.CDLL(None)  # FAISS's wheels load CUDA's runtime for the whole process
            status = cuda.cudaSetDevice(self._number)
            status = status or cuda.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        except AttributeError as exc:
            raise RuntimeError("FAISS came without CUDA's runtime") from exc
        if status:
            raise RuntimeError(f"CUDA error {status} when asked for free memory")
        return free.value

    def flat(self, dimension: int) -> faiss.Index:
        config = faiss.GpuIndexFlatConfig()
        config.device = self._number
        config.useFloat16 = True
        return faiss.GpuIndexFlat(self._resources, dimension, faiss.METRIC_INNER_PRODUCT, config)

    def lists(self, dimension: int, count: int) -> faiss.IndexIVF:
        config = faiss.GpuIndexIVFScalarQuantizerConfig()
        config.device = self._number
        return faiss.GpuIndexIVFScalarQuantizer(
            self._resources,
            dimension,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,  # not relative to the middle of its list: half precision needs no help
            config,
        )


def find_gpu(device: str) -> Gpu | None:
    """The GPU that `device` means: auto, cpu, cuda or cuda:N. None for cpu, and where FAISS has
    none: it is the CPU's build, or sees no such GPU."""
    if device == "cpu" or not hasattr(faiss, "StandardGpuResources"):
        return None
    number = int(device.partition(":")[2] or 0)
    return Gpu(number) if number < faiss.get_num_gpus() else None
