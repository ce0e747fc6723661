"""Methods run as in the process that they have in a service: each library has one thread, which
where the cores are busy is many times as fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from app.analysis import blas_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with blas_threads.one_thread(), threadpool_limits(1, user_api="openmp"):
        yield
