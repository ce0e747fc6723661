"""Which clips match a filter, answered from memory as the store would answer it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from app.domain import ClipFilter
from app.library.columns import Columns, Fixed, Ids, emotion_codes, hashes
from app.store import Session, Store, clips, filterable
from app.store.filterable import Filterable, Labels, microseconds
from app.store.filters import metadata_digests

log = logging.getLogger(__name__)


class FilterColumns:
    """The filterable fields of all stored clips, kept equal to the store.

    Whoever has committed a change says so with `add`, `refresh` or `remove` before answering:
    then every filter that is evaluated after the answer agrees with it. A change that could not
    be taken over is remembered, and made up for by the next one who asks. Reading waits for
    nobody otherwise.

    Args:
        store: all of its clips are read, some four seconds for a million.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changing = threading.Lock()
        self._stale: set[int] = set()  # clips whose change could not be taken over
        self._removals = 0
        started = time.monotonic()
        with store.read() as session:
            self._columns = _appended(Columns.empty(), session, None)
        seconds = time.monotonic() - started
        log.info("Filters cover %d clips, read in %.2f s.", len(self), seconds)

    def __len__(self) -> int:
        return self._columns.live_count

    @property
    def removals(self) -> int:
        """How often clips were removed so far."""
        return self._removals

    def ids(self, wanted: ClipFilter, other_than: Collection[str] = ()) -> Ids:
        """(n,) ids of the clips that match, ascending, leaving out those of some customers.

        Raises:
            Unavailable: a change is still to be read from the store, which does not answer.
        """
        if self._stale:
            self.refresh(())
        return self._columns.matching(wanted, other_than)

    def add(self, clip_id: int, new: clips.NewClip, *, removals: int) -> None:
        """Take over a clip that was committed. Never raises: the clip is stored.

        Args:
            removals: before its commit; if there was none since, nobody has deleted it.
        """
        try:
            with self._changing:
                if clip_id <= self._columns.highest and len(self._slots([clip_id])):
                    return  # it was changed meanwhile, and read then
                if removals == self._removals:
                    self._columns = _with_new(self._columns, clip_id, new)
                    return
            self.refresh([clip_id])
        except Exception:
            log.exception("Clip %d is stored; filters look for it again.", clip_id)
            with self._changing:
                self._stale.add(clip_id)

    def refresh(self, clip_ids: Sequence[int]) -> None:
        """Take over these clips as they are stored now, if they are.

        Raises:
            Unavailable: the store does not answer; filters look for the clips again.
        """
        # Read under the lock: of two who changed one clip, the later to read has the newest.
        with self._changing:
            wanted = sorted(self._stale.union(clip_ids))
            try:
                with self._store.read() as session:
                    left = self._columns.without(np.array(wanted, np.int64))
                    self._columns = _tidied(_appended(left, session, wanted))
            except BaseException:
                self._stale.update(clip_ids)
                raise
            self._stale.clear()

    @contextlib.contextmanager
    def rescoring(self) -> Iterator[Callable[[Session], None]]:
        """For a change of any number of clips' scores: what is given is to be called within the
        transaction that makes it. Filters go by the new scores when the block has ended without
        an error; other changes wait for that."""
        with self._changing:
            rescored = self._columns

            def read(session: Session) -> None:
                nonlocal rescored
                rescored = _rescored(self._columns, session)

            yield read
            self._columns = rescored

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Drop clips that were deleted from the store."""
        with self._changing:
            self._removals += 1
            self._columns = _tidied(self._columns.without(np.array(clip_ids, np.int64)))

    def audit(self) -> None:
        """Take over whatever the store and this differ in, if their numbers do."""
        with self._store.read() as session:
            if clips.count(session, ClipFilter()) == len(self):
                return
            stored = filterable.all_ids(session)
        differing = np.setxor1d(stored, self._columns.ids(), assume_unique=True)
        self.refresh(differing.tolist())
        log.info("Filters were at odds with the store over %d clips.", len(differing))

    def _slots(self, clip_ids: Sequence[int]) -> Ids:
        return self._columns.slots_of(np.array(clip_ids, np.int64))


def _appended(columns: Columns, session: Session, ids: Sequence[int] | None) -> Columns:
    """With the clips in `ids` that are stored, or all; they must not be there yet."""
    before = columns.count
    for batch in filterable.read(session, ids):
        columns = columns.extended(Fixed.of(batch))
    return _labelled(columns, before, filterable.read_labels(session, ids))


def _rescored(columns: Columns, session: Session) -> Columns:
    """With the emotions and confidences that are stored."""
    batches = list(filterable.read_scores(session))
    ids = np.concatenate([np.empty(0, np.int64), *(np.array(one.ids) for one in batches)])
    codes = [emotion_codes(one.emotions) for one in batches]
    confidences = [np.array(one.confidences, np.float64) for one in batches]
    return columns.rescored(
        ids,
        np.concatenate([np.empty(0, np.uint8), *codes]),
        np.concatenate([np.empty(0, np.float64), *confidences]),
    )


def _labelled(columns: Columns, first_slot: int, batches: Iterable[Labels]) -> Columns:
    """With the labels of clips whose ids rise from `first_slot` on."""
    ids = columns.fixed.ids[first_slot : columns.count]
    for labels in batches:
        slots = np.searchsorted(ids, np.array(labels.ids, np.int64)) + first_slot
        columns = columns.labelled(hashes(labels.values), slots)
    return columns


def _with_new(columns: Columns, clip_id: int, new: clips.NewClip) -> Columns:
    fields = new.fields
    clip = Filterable(
        [clip_id],
        [new.recognition.emotion],
        [new.recognition.confidence],
        np.array([microseconds(fields.recorded_at or new.stored_at)], np.int64),
        [fields.customer_id],
        [fields.call_id],
        [fields.agent_id],
        [new.file_sha256],
    )
    labels: list[str | bytes] = [*set(fields.tags), *metadata_digests(fields.metadata)]
    slots = np.full(len(labels), columns.count)
    return columns.extended(Fixed.of(clip)).labelled(hashes(labels), slots)


def _tidied(columns: Columns) -> Columns:
    return columns.packed() if columns.is_loose() else columns
