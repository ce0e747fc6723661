"""How many threads NumPy and SciPy take for linear algebra."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from threadpoolctl import ThreadpoolController

OPENBLAS = "libscipy_openblas"  # as the wheels of NumPy and SciPy have it; FAISS has another

_changing = threading.Lock()
# What one thread has set OpenBLAS does not always let another one change.
_setter = ThreadPoolExecutor(1, "blas-threads")
_within = 0
_limit: Any = None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """NumPy and SciPy compute in the calling threads alone, of the whole process, until the last
    one has left.

    OpenBLAS's threads wait for each other by spinning. Where the cores are busy, or the caller has
    a low priority and they have not, hundreds of small fits take fifty times as long with two.
    """
    global _within, _limit
    with _changing:
        if _within == 0:
            _limit = _setter.submit(_limited).result()
        _within += 1
    try:
        yield
    finally:
        with _changing:
            _within -= 1
            if _within == 0:
                _setter.submit(_limit.restore_original_limits).result()
                _limit = None


def _limited() -> Any:
    return ThreadpoolController().select(prefix=OPENBLAS).limit(limits=1)
