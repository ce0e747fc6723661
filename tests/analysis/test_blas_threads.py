"""NumPy's threads, while somebody wants only one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import ThreadpoolController

from app.analysis.blas_threads import OPENBLAS, one_thread


def threads() -> set[int]:
    """As any other thread of the process has it."""

    def look() -> set[int]:
        found = ThreadpoolController().select(prefix=OPENBLAS).info()
        return {one["num_threads"] for one in found}

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result()


def test_one_until_the_last_has_left() -> None:
    before = threads()
    if before == {1}:
        pytest.skip("this machine has one core")
    may_leave, inside = threading.Event(), threading.Event()

    def second() -> None:
        with one_thread():
            inside.set()
            assert may_leave.wait(30)

    thread = threading.Thread(target=second)
    with one_thread():
        thread.start()
        assert inside.wait(30)
        assert threads() == {1}
    assert threads() == {1}
    may_leave.set()
    thread.join()
    assert threads() == before
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert threads() == before
