"""Searches on a GPU beside an index that changes, is built anew, and answers whatever the GPU does
not."""

from __future__ import annotations

import logging
import threading
import weakref

from index.contract import Hits, VectorIndex, Vectors
from index.gpu import Device
from index.gpu_replica import GpuReplica
from index.graph_index import GraphIndex

log = logging.getLogger(__name__)


class GpuSearch:
    """Keeps a replica of the index in use, if it is a large one, and answers from it.

    Where memory is short it warns once and leaves the searches to the index, until that is built
    anew. `follow` is for one thread; searches are safe from any number of them.
    """

    def __init__(self, device: Device, stopping: threading.Event) -> None:
        """Copying ends early once `stopping` is set."""
        self._device = device
        self._stopping = stopping
        self._replica: GpuReplica | None = None
        self._failed_with: weakref.ref[VectorIndex] | None = None
        self._giving_up = threading.Lock()

    @property
    def in_use(self) -> bool:
        """Whether there is a replica that answers."""
        return self._replica is not None

    def follow(self, index: VectorIndex | None) -> None:
        """Copy what is new in `index`; copy it anew when it is another one or much has changed.
        For None the GPU's memory is freed.

        Until that is done the index answers: two replicas might not fit.
        """
        replica = self._replica
        if replica is not None and (replica.master is not index or replica.is_outgrown):
            self._replica = None
            replica.close()
            replica = None
        if not isinstance(index, GraphIndex) or self._has_failed_with(index):
            return
        if self._stopping.is_set():
            return
        try:
            if replica is None:
                self._replica = GpuReplica.make(index, self._device, self._stopping)
            else:
                replica.extend(self._stopping)
        except (RuntimeError, MemoryError) as exc:  # what FAISS and NumPy raise
            self._give_up(index, replica, exc)

    def search(self, index: VectorIndex, asked: Vectors, k: int) -> list[Hits] | None:
        """As the index's `search_directions` without filters, exactly or nearly; None where that
        must be asked itself.

        Raises:
            WrongDimension, NotFinite: the directions are unfit.
        """
        replica = self._replica
        if replica is None or replica.master is not index:
            return None
        try:
            return replica.search(asked, k)
        except (RuntimeError, MemoryError) as exc:
            self._give_up(index, replica, exc)
            return None

    def _has_failed_with(self, index: VectorIndex) -> bool:
        return self._failed_with is not None and self._failed_with() is index

    def _give_up(self, index: VectorIndex, replica: GpuReplica | None, exc: Exception) -> None:
        with self._giving_up:
            if self._has_failed_with(index):
                return  # another search was first
            if self._replica is not replica:
                return  # of a copy that has been replaced meanwhile
            self._failed_with = weakref.ref(index)
            self._replica = None
        if replica is not None:
            replica.close()
        reason = str(exc).strip() or type(exc).__name__
        log.warning("Searches go on without the GPU until the index is built anew: %s.", reason)
