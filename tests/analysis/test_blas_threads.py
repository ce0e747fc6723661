"""NumPy's threads, while somebody wants only one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from threadpoolctl import ThreadpoolController

from app.analysis import blas_threads
from app.analysis.blas_threads import OPENBLAS, one_thread


def found() -> set[int]:
    """As any other thread of the process has it."""

    def look() -> set[int]:
        each = ThreadpoolController().select(prefix=OPENBLAS).info()
        return {one["num_threads"] for one in each}

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Two, also where the machine has one core. OpenBLAS obeys the thread that asked first."""

    def two() -> Any:
        return ThreadpoolController().select(prefix=OPENBLAS).limit(limits=2)

    limit = blas_threads._setter.submit(two).result()
    yield
    blas_threads._setter.submit(limit.restore_original_limits).result()


def test_one_until_the_last_has_left() -> None:
    assert found() == {2}
    may_leave, inside = threading.Event(), threading.Event()

    def second() -> None:
        with one_thread():
            inside.set()
            assert may_leave.wait(30)

    thread = threading.Thread(target=second)
    with one_thread():
        thread.start()
        assert inside.wait(30)
        assert found() == {1}
    assert found() == {1}
    may_leave.set()
    thread.join()
    assert found() == {2}
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert found() == {2}
