"""The vector index of the active model, kept equal to what the store says it should hold."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain import Embedding, ModelInfo
from app.errors import Unavailable
from app.library.current import Current, State
from app.library.mean_watch import MeanWatch
from app.library.wanted_vectors import WantedVectors
from app.store import Store, embeddings
from index import snapshot
from index.build import Engine, Watch, build, is_outgrown
from index.errors import AlreadyPresent, SnapshotError, SnapshotNotFoundError
from index.gpu import Device
from index.gpu_search import GpuSearch
from index.graph_index import GraphIndex
from index.row_files import RowFiles

NOT_SAVED = (0, -1)
FEW = 1000  # clips that a new build may lack when adding waits for it to catch up

log = logging.getLogger(__name__)


class LiveIndex:
    """Searches never wait for a rebuild: it happens beside the index in use, then takes its place.

    Args:
        directory: where snapshots are kept.
        model_row: the store's id of the active model.
        prior: (D,) the mean assumed before any clip is stored.
        gpu: where searches of many queries are answered, once `replicate` has copied the index.
        give_up: set when a build is to be given up although nobody has the index to `stop` yet.

    Raises:
        Unavailable: `give_up` was set during the first build.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        model: ModelInfo,
        model_row: int,
        prior: NDArray[np.float32],
        gpu: Device | None = None,
        give_up: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._model = model
        self._model_row = model_row
        self._prior = prior
        self._changing = threading.Lock()  # add, remove and the switch to a new build
        self._missed: set[int] = set()  # whose add failed; the next rebuild makes up for it
        self._rebuilding = threading.Lock()  # held by whoever builds: one at a time
        self._saved = NOT_SAVED  # build and changes that the newest snapshot holds
        self._changes = 0
        self._removals = 0
        self._built_on = 0  # clips that the mean was taken from
        self._wanted = WantedVectors(store, model_row)
        self._mean_watch = MeanWatch(store, model_row, prior)
        self._stopping = threading.Event()
        self._give_up = give_up or self._stopping
        self._gpu = None if gpu is None else GpuSearch(gpu, self._stopping)
        self._rows = RowFiles(directory)
        self._in_use = self._open()  # an index and its build: one assignment changes both

    @property
    def state(self) -> State:
        if self._missed:
            return "degraded"
        return "building" if self._rebuilding.locked() else "ready"

    @property
    def _index(self) -> Engine:
        return self._in_use[0]

    @property
    def build(self) -> int:
        return self._in_use[1]

    @property
    def kind(self) -> str:
        """How the build in use finds its candidates: flat (it compares with all) or graph."""
        return self._index.kind

    @property
    def backend(self) -> str:
        """What answers searches that have no filter: faiss-gpu or faiss-cpu."""
        return "faiss-gpu" if self._gpu is not None and self._gpu.in_use else "faiss-cpu"

    @property
    def pending(self) -> int:
        """Stored clips that the index still lacks."""
        return len(self._missed)

    @property
    def left_out(self) -> int:
        """Stored clips that cannot be in the index: their embeddings are not finite."""
        return len(self._wanted.unfit)

    @property
    def removals(self) -> int:
        """How often clips were removed so far."""
        return self._removals

    @property
    def model_row(self) -> int:
        return self._model_row

    @property
    def dimension(self) -> int:
        return self._model.dimension

    @property
    def mean(self) -> NDArray[np.float32]:
        return self._index.mean

    @property
    def memory_bytes(self) -> int:
        return self._index.memory_bytes

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, clip_id: int) -> bool:
        return clip_id in self._index

    def current(self) -> Current:
        """The build in use now; it goes on answering when another takes its place."""
        index, build = self._in_use
        return Current(index, self.state, build, self.pending, self._gpu)

    def add(self, clip_id: int, embedding: Embedding, *, removals: int) -> bool:
        """Add a committed clip. False when that failed: the next repair adds it.

        Args:
            removals: before its commit; if there was none since, nobody has deleted it.
        """
        try:
            with self._changing:
                if clip_id not in self._index:
                    self._index.add(np.array([clip_id], np.int64), embedding[None, :])
                    self._changes += 1
                    self._mean_watch.changed += 1
                if removals != self._removals and not self._is_stored(clip_id):
                    self._index.remove(np.array([clip_id], np.int64))
        except Exception:  # the clip is committed: whatever happened must not refuse it now
            log.exception("Clip %d is stored but could not be added to the index.", clip_id)
            self._missed.add(clip_id)
            return False
        return True

    def add_block(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32], *, removals: int
    ) -> bool:
        """Add committed clips, ids (n,) and vectors (n, D), as `add` does one."""
        try:
            with self._changing:
                try:
                    self._index.add(ids, vectors)
                except AlreadyPresent as exc:  # a rebuild or an audit was quicker
                    new = ~np.isin(ids, exc.ids)
                    self._index.add(ids[new], vectors[new])
                self._changes += 1
                self._mean_watch.changed += len(ids)
                if removals != self._removals:
                    gone = [i for i in ids.tolist() if not self._is_stored(i)]
                    self._index.remove(np.array(gone, np.int64))
        except Exception:  # they are committed, as in `add`
            log.exception("%d imported clips could not be added to the index.", len(ids))
            self._missed.update(ids.tolist())
            return False
        return True

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Remove clips that were deleted from the store; searches no longer return them."""
        with self._changing:
            self._mean_watch.changed += self._index.remove(np.array(clip_ids, np.int64))
            self._changes += 1
            self._removals += 1

    @contextlib.contextmanager
    def still(self) -> Iterator[Engine]:
        """The build in use, that nobody adds to, removes from or replaces: for moments only."""
        with self._changing:
            yield self._index

    def renew(self, clip_ids: NDArray[np.int64]) -> None:
        """Make these clips in the index what the store says of them, whatever is there."""
        with self._changing:
            stored = self._wanted.of(clip_ids)
            self._changes += 1
            self._index.remove(clip_ids)
            for ids, vectors in stored:
                self._index.add(ids, vectors)
            self._missed.difference_update(clip_ids.tolist())

    def stop(self) -> None:
        """Give up a build under way."""
        self._stopping.set()

    def maintain(self) -> None:
        """Repair after a failed add; renew what the library has outgrown."""
        index = self._index
        outgrown = self._missed or is_outgrown(index, self._built_on)
        if outgrown or self._mean_watch.has_drifted(index):
            self.rebuild()
        elif isinstance(index, GraphIndex) and index.wants_to_grow:
            index.grow()
            self._changes += 1

    def replicate(self, *, answers: bool = True) -> None:
        """Bring the GPU's copy up to the index, or give it up where the index `answers` nobody;
        without a GPU, nothing."""
        if self._gpu is not None:
            self._gpu.follow(self._index if answers else None)

    def audit(self) -> None:
        """Make up for whatever the store and the index differ in, if they do."""
        differing = self._wanted.differing(self._index)
        if not len(differing):
            return
        with self._changing:
            added, removed = self._wanted.match(self._index, differing)
            if added or removed:
                self._changes += 1
                self._mean_watch.changed += added + removed
                log.info("The index lacked %d clips and had %d too many.", added, removed)

    def rebuild(self, watch: Watch = lambda _: None) -> None:
        """Build anew from the store and switch to it.

        Args:
            watch: see index.build.build.

        Raises:
            Unavailable: the service stops.
        """
        with self._rebuilding, self._unsaved_unless_done():
            fresh = self._build(watch)
            built_on = len(fresh)
            # What came meanwhile: most of it before others have to wait for the rest.
            changed = few = sum(self._wanted.reconcile(fresh))
            while few > FEW:
                few = sum(self._wanted.reconcile(fresh))
                changed += few
            with self._changing:
                changed += sum(self._wanted.reconcile(fresh))
                self._in_use = fresh, self.build + 1
                self._built_on = built_on
                self._mean_watch.begin(changed)
                self._changes += 1
                self._missed.clear()
        log.info("Index build %d: %d clips.", self.build, len(fresh))

    @contextlib.contextmanager
    def _unsaved_unless_done(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._saved = NOT_SAVED  # the next save removes the files of what was not finished
            raise

    def save(self) -> None:
        """Write a snapshot, unless the newest one holds the same."""
        at = (self.build, self._changes)
        if at == self._saved:
            return
        started = time.monotonic()
        snapshot.save(
            self._index,
            self._directory,
            model_digest=self._model.digest,
            build=self.build,
            built_on=self._built_on,
            changed=self._mean_watch.changed,
            rows=self._rows,
        )
        self._saved = at
        log.info("Index saved: %d clips in %.2f s.", len(self), time.monotonic() - started)

    def _is_stored(self, clip_id: int) -> bool:
        with self._store.read() as session:
            return embeddings.has(session, self._model_row, clip_id)

    def _open(self) -> tuple[Engine, int]:
        """The snapshot brought up to the store, or a build from the store, and its number."""
        try:
            index, manifest = snapshot.load(
                self._directory,
                model_digest=self._model.digest,
                dimension=self._model.dimension,
                rows=self._rows,
            )
        except SnapshotNotFoundError:
            index = self._build()
            self._built_on = len(index)
        except (SnapshotError, OSError) as exc:
            log.warning("The index snapshot is not used, the index is rebuilt: %s.", exc)
            index = self._build()
            self._built_on = len(index)
        else:
            self._built_on = manifest.built_on or 0
            added, removed = self._wanted.reconcile(index)
            self._mean_watch.begin(manifest.changed + added + removed)
            self._saved = (manifest.build, 0 if added + removed == 0 else -1)
            log.info("Index loaded: %d clips, %d added, %d removed.", len(index), added, removed)
            return index, manifest.build
        return index, 0

    def _build(self, watch: Watch = lambda _: None) -> Engine:
        def unless_stopping(count: int) -> None:
            if self._stopping.is_set() or self._give_up.is_set():
                raise Unavailable("The service is stopping.")
            watch(count)

        return build(
            self._wanted.blocks, self._model.dimension, self._prior, self._rows, unless_stopping
        )
