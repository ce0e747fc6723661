"""The library of clips: the store is the truth, the index follows, the files go along."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from app.data_dir import Ownership
from app.domain import Clip, ClipFilter, DuplicateKind
from app.errors import DataDirInUse, NotFound, Unavailable
from app.library import clock
from app.library.classifier_upkeep import ClassifierUpkeep
from app.library.classifiers import Classifiers
from app.library.clusterings import Clusterings
from app.library.columns import Ids
from app.library.dropping import Drop
from app.library.duplicate_groups import DuplicateGroups
from app.library.files import (
    KeptAudio,
    ResultDirs,
    match_data_dir,
    remove_result_dir,
)
from app.library.filter_columns import FilterColumns
from app.library.gate import Gate
from app.library.keyed_locks import KeyedLocks
from app.library.live_index import LiveIndex
from app.library.maintenance import Maintenance
from app.library.people import People
from app.library.rebuilding import Rebuild
from app.library.recordings import Recordings
from app.library.reembedding import Reembedding
from app.library.reindex import Reindexing
from app.library.repeats import Repeats
from app.library.reports import Reports
from app.library.roles import Roles
from app.library.scheduler import Scheduler
from app.library.schedules import Schedules
from app.library.spaces import Spaces, load_active, open_spaces
from app.library.summaries import Summaries
from app.recogniser import Recogniser
from app.settings import Settings
from app.store import Session, Store, clips, duplicates, idempotency

log = logging.getLogger(__name__)


class Library:
    """Everything of one data directory, which it owns until closed.

    Opening migrates the database, loads the model, and heals the index and the kept audio after
    a crash.

    Raises:
        ModelError, SettingsError: the model cannot be had.
        Unavailable: the database does not answer.
    """

    def __init__(self, settings: Settings, ownership: Ownership) -> None:
        self.settings = settings
        self._ownership = ownership
        try:
            self.store = Store(settings.sqlalchemy_url)
            self.store.claim()
            self.store.migrate()
            match_data_dir(self.store, settings.data_dir)
            spaces = open_spaces(settings, self.store, load_active(settings, self.store))
            # A million clips take some seconds: what needs no filter is answered meanwhile.
            self._reading = ThreadPoolExecutor(1, "filters")
            self._filters = self._reading.submit(FilterColumns, self.store)
            self.kept_audio = KeptAudio(settings.data_dir / "audio")
            self.result_dirs = ResultDirs(settings.outputs_dir, settings.outputs_max_age_hours)
            self.duplicate_groups = DuplicateGroups(self.store)
            self.recordings = Recordings(
                settings, self.store, self.kept_audio, self.duplicate_groups
            )
            self.summaries = Summaries(self.store)
            self.roles = Roles(settings, self.store, spaces, lambda: self.filters, self.summaries)
            self.repeats = Repeats(settings, self.store, self.roles, self.duplicate_groups)
            self.reindexing = self._reindexing()
            self.clusterings = Clusterings(self.store)
            self.classifiers = Classifiers(self)
            self.classifier_upkeep = ClassifierUpkeep(self, self.classifiers)
            self.reports = Reports(
                self.store,
                self.clusterings,
                lambda: self.model_row,
                settings.report_retention_days,
            )
            self.schedules = Schedules(self.store, lambda: clock.now())
            self._scheduler = Scheduler(self.schedules, settings.sqlalchemy_url)
            self.people = People(self.store)
            self._recover()
        except BaseException:
            self._ownership.release()
            raise
        self.gate = Gate(settings.max_concurrency, settings.queue_length)
        self.key_locks = KeyedLocks()
        self.index_check = threading.Lock()  # one at a time
        self._deleted = True  # since the last checkpoint, or by an earlier process
        minutes = settings.snapshot_minutes
        self._maintenance = Maintenance()
        self._maintenance.start(
            "maintenance", (10.0, self._keep_claim), (min(600.0, minutes * 60), self._clean)
        )
        # By itself: a new build of a large index takes minutes.
        self._maintenance.start(
            "index",
            (0.0, lambda: self.reindexing.work("rebuild")),
            (1.0, lambda: self.roles.tend(LiveIndex.maintain)),
            (1.0, lambda: self.roles.tend(self._replicate)),
            (60.0, lambda: self.roles.tend(LiveIndex.audit)),
            (60.0, lambda: self.filters.audit()),
            (minutes * 60, lambda: self.roles.tend(LiveIndex.save)),
            (1.0, self.recordings.index.maintain),
            (60.0, self.recordings.index.audit),
            (minutes * 60, self.recordings.index.save),
        )
        self._maintenance.start(
            "duplicates", (1.0, self.recordings.catch_up), (1.0, self.repeats.catch_up)
        )
        self._maintenance.start("reindex", (0.0, lambda: self.reindexing.work("reembed", "drop")))
        self._maintenance.start("clusters", (0.0, self.clusterings.work))
        self._maintenance.start("classifiers", (0.0, self.classifier_upkeep.work))
        self._maintenance.start(
            "reports", (0.5, self.reports.work), (min(600.0, minutes * 60), self.reports.expire)
        )
        self._maintenance.start("schedules", (1.0, self._scheduler.look))
        self._maintenance.start("people", (1.0, self.people.work))

    @property
    def filters(self) -> FilterColumns:
        """Waits while they are read, after the start.

        Raises:
            Unavailable: the database does not answer. It is tried again with the next call.
        """
        reading = self._filters
        try:
            return reading.result()
        except Exception:
            if self._filters is reading:
                self._filters = self._reading.submit(FilterColumns, self.store)
            raise

    def close(self) -> None:
        """Wait for the recognitions under way, save the indexes, give the data directory up."""
        self._maintenance.close()
        self.people.close()
        self.gate.close()
        self.roles.close()
        self.recordings.stop()
        self.repeats.stop()
        self.clusterings.close()
        self._scheduler.close()
        self._maintenance.join()
        self.repeats.close()
        self.classifiers.close()
        try:
            self.store.close()
            for index in (*(space.index for space in self.spaces), self.recordings.index):
                index.save()
        finally:
            self._ownership.release()

    @property
    def spaces(self) -> Spaces:
        return self.roles.spaces

    @property
    def recogniser(self) -> Recogniser:
        """The active model's, as `index` and `model_row` are. Who reads several of them, or one
        several times, reads `spaces` once instead: a switch may come in between."""
        return self.spaces.active.recogniser

    @property
    def index(self) -> LiveIndex:
        return self.spaces.active.index

    @property
    def model_row(self) -> int:
        return self.spaces.active.model_row

    def clip(self, clip_id: int) -> Clip:
        """Raises NotFound when there is no such clip."""
        with self.store.read() as session:
            clip = clips.get(session, clip_id)
        if clip is None:
            raise NotFound(f"There is no clip {clip_id}.")
        return clip

    def duplicate_of(self, clip: Clip) -> tuple[int, DuplicateKind] | None:
        """The lowest live clip that is the same file or recording, if that is another one."""
        with self.store.read() as session:
            return duplicates.first_of(session, clip)

    def change(self, clip_id: int, changes: dict[str, Any]) -> Clip:
        """Replace some ClipFields of a clip. Raises NotFound."""
        with self.roles.commits.shared():
            try:
                with self.store.write() as session:
                    if (clip := clips.get_locked(session, clip_id)) is not None:
                        clips.update(session, clip_id, dataclasses.replace(clip.fields, **changes))
            finally:  # also a commit that failed may have happened
                self.summaries.forget([clip_id])
                self.filters.refresh([clip_id])
        return self.clip(clip_id)

    def forget(self, clip_id: int) -> bool:
        """Delete a clip: gone from rows, searches and files when this returns. False when there
        is no such clip.

        Raises:
            Unavailable: the clip is deleted, but not all of its files yet.
        """
        return self._delete(lambda _: np.array([clip_id], np.int64)) == 1

    def forget_matching(self, wanted: ClipFilter) -> int:
        """Delete the clips that match; returns how many. Raises Unavailable, as `forget`."""
        return self._delete(lambda session: clips.matching_ids(session, wanted, lock=True))

    def _delete(self, chosen: Callable[[Session], Ids]) -> int:
        removed: list[clips.Deleted] = []
        with self.roles.commits.shared():
            try:
                with self.store.write() as session:
                    removed = clips.remove(session, chosen(session))
            except BaseException:
                # The commit may have happened: the database decides, and the index's audit.
                clip_ids = [gone.clip_id for gone in removed]
                self.summaries.forget(clip_ids)
                self.duplicate_groups.changed()
                with contextlib.suppress(Unavailable):
                    self.filters.refresh(clip_ids)
                raise
            self._unlist(removed)
        if removed and not self._remove_files(removed):
            raise Unavailable(
                "The clips are deleted, but some of their files could not be removed yet; the "
                "service goes on trying."
            )
        return len(removed)

    def _unlist(self, removed: list[clips.Deleted]) -> None:
        clip_ids = [gone.clip_id for gone in removed]
        if clip_ids:
            self.summaries.forget(clip_ids)
            for space in self.spaces:
                space.index.remove(clip_ids)
            self.recordings.index.remove(clip_ids)
            self.filters.remove(clip_ids)
            self.duplicate_groups.changed()
            self._deleted = True

    def _remove_files(self, removed: list[clips.Deleted]) -> bool:
        """Remove deleted clips' files. False when some could not be: maintenance tries again."""
        done = []
        for gone in removed:
            try:
                if gone.audio_key is not None:
                    self.kept_audio.remove(gone.audio_key)
                if gone.result_dir is not None:
                    remove_result_dir(Path(gone.result_dir), gone.clip_id)
            except OSError:
                log.exception("Files of the deleted clip %d are still there.", gone.clip_id)
            else:
                done.append(gone.clip_id)
        with self.store.write() as session:
            clips.files_removed(session, done)
        return len(done) == len(removed)

    def _remove_doomed(self) -> None:
        with self.store.read() as session:
            doomed = clips.doomed(session)
        if doomed:
            self._remove_files(doomed)

    def _reindexing(self) -> Reindexing:
        return Reindexing(
            self.store,
            {
                "rebuild": Rebuild(self.store, lambda: self.index),
                "reembed": Reembedding(self),
                "drop": Drop(self),
            },
        )

    def _replicate(self, index: LiveIndex) -> None:
        index.replicate(answers=index is self.index)

    def _recover(self) -> None:
        """Finish what a crash interrupted: audio of committed clips, files of deleted ones."""
        if unsettled := self.kept_audio.unsettled():
            log.info("A crash left %d audio files between two states.", len(unsettled))
            with self.store.read() as session:
                committed = clips.committed_keys(session, unsettled)
            for key in unsettled:
                (self.kept_audio.settle if key in committed else self.kept_audio.discard)(key)
        self._remove_doomed()

    def _clean(self) -> None:
        if removed := self.result_dirs.remove_old():
            log.info("Removed %d old result directories.", removed)
        with self.store.write() as session:
            idempotency.expire(session, dt.datetime.now(dt.UTC))
        self._remove_doomed()
        if self._deleted:
            self._deleted = emptied = False
            try:
                emptied = self.store.checkpoint()
            finally:
                self._deleted |= not emptied  # tried again next time

    def _keep_claim(self) -> None:
        try:
            self.store.keep_claim()
        except DataDirInUse as exc:
            log.critical("%s This service stops.", exc.detail)
            os.kill(os.getpid(), signal.SIGTERM)
