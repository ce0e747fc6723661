"""The library of clips: the store is the truth, the index follows, the files go along."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.data_dir import Ownership
from app.domain import Clip, ClipFilter, DuplicateKind, Embedding
from app.errors import DataDirInUse, NotFound, SettingsError, Unavailable
from app.library.files import (
    KeptAudio,
    ResultDirs,
    index_directory,
    match_data_dir,
    remove_result_dir,
)
from app.library.filter_columns import FilterColumns
from app.library.gate import Gate
from app.library.keyed_locks import KeyedLocks
from app.library.live_index import LiveIndex
from app.library.reindex import Reindexing
from app.library.summaries import Summaries
from app.recogniser import Recogniser, load
from app.settings import Settings
from app.store import Store, clips, embeddings, idempotency, models

RETRY_SECONDS = 30.0  # after a maintenance task failed
NICE = 10  # of the threads that maintain: requests come first

Task = tuple[float, Callable[[], None]]  # seconds between, and what is done

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
            self.recogniser, self.model_row, prior = self._load_model()
            # Beside the index: seconds each where there are a million clips. Not beside the model:
            # its threads wait for each other, and all of them for the one that is interrupted.
            starting = ThreadPoolExecutor(1, "start")
            filters = starting.submit(FilterColumns, self.store)
            self.kept_audio = KeptAudio(settings.data_dir / "audio")
            self.result_dirs = ResultDirs(settings.outputs_dir, settings.outputs_max_age_hours)
            self.index = LiveIndex(
                self.store,
                self._index_dir(),
                self.recogniser.info,
                self.model_row,
                prior,
            )
            self.filters = filters.result()
            self.summaries = Summaries(self.store)
            starting.shutdown()
            info = self.recogniser.info
            self.reindexing = Reindexing(self.store, self.index, self.model_row, info.dimension)
            self._recover()
        except BaseException:
            self._ownership.release()
            raise
        self.gate = Gate(settings.max_concurrency, settings.queue_length)
        self.key_locks = KeyedLocks()
        self.index_check = threading.Lock()  # one at a time
        self._deleted = True  # since the last checkpoint, or by an earlier process
        self._closing = threading.Event()
        minutes = settings.snapshot_minutes
        self._maintenance = [
            self._started(
                "maintenance", (10.0, self._keep_claim), (min(600.0, minutes * 60), self._clean)
            ),
            # By itself: a new build of a large index takes minutes.
            self._started(
                "index",
                (0.0, self.reindexing.work),
                (1.0, self.index.maintain),
                (60.0, self.index.audit),
                (60.0, self.filters.audit),
                (minutes * 60, self.index.save),
            ),
        ]

    def close(self) -> None:
        """Wait for the recognitions under way, save the index, give the data directory up."""
        self._closing.set()
        self.gate.close()
        self.recogniser.close()
        self.index.stop()
        for thread in self._maintenance:
            thread.join()
        try:
            self.store.close()
            self.index.save()
        finally:
            self._ownership.release()

    def clip(self, clip_id: int) -> Clip:
        """Raises NotFound when there is no such clip."""
        with self.store.read() as session:
            clip = clips.get(session, clip_id)
        if clip is None:
            raise NotFound(f"There is no clip {clip_id}.")
        return clip

    def same_file(self, clip: Clip) -> tuple[int, DuplicateKind] | None:
        """The lowest live clip that is the same file as `clip`, if that is another one."""
        with self.store.read() as session:
            found = clips.same_file(session, clip.file_sha256, clip.audio_sha256, clip.channel)
        return None if found is None or found[0] == clip.id else found

    def embeddings(self, clip_ids: Sequence[int]) -> dict[int, Embedding]:
        """The (D,) embeddings of clips by the active model, of those that have one."""
        with self.store.read() as session:
            return embeddings.get(session, self.model_row, clip_ids)

    def change(self, clip_id: int, changes: dict[str, Any]) -> Clip:
        """Replace some ClipFields of a clip. Raises NotFound."""
        try:
            with self.store.write() as session:
                if (clip := clips.get_locked(session, clip_id)) is not None:
                    clips.update(session, clip_id, dataclasses.replace(clip.fields, **changes))
        finally:  # also a commit that failed may have happened
            self.filters.refresh([clip_id])
            self.summaries.forget([clip_id])
        return self.clip(clip_id)

    def forget(self, clip_id: int) -> bool:
        """Delete a clip: gone from rows, searches and files when this returns. False when there
        is no such clip.

        Raises:
            Unavailable: the clip is deleted, but not all of its files yet.
        """
        with self.store.write() as session:
            removed = clips.remove(session, [clip_id])
        self._finish_removal(removed)
        return bool(removed)

    def forget_matching(self, wanted: ClipFilter) -> int:
        """Delete the clips that match; returns how many. Raises Unavailable, as `forget`."""
        with self.store.write() as session:
            removed = clips.remove(session, clips.matching_ids(session, wanted, lock=True))
        self._finish_removal(removed)
        return len(removed)

    def _finish_removal(self, removed: list[clips.Deleted]) -> None:
        if removed:
            clip_ids = [gone.clip_id for gone in removed]
            self.index.remove(clip_ids)
            self.filters.remove(clip_ids)
            self.summaries.forget(clip_ids)
            self._deleted = True
            if not self._remove_files(removed):
                raise Unavailable(
                    "The clips are deleted, but some of their files could not be removed yet; the "
                    "service goes on trying."
                )

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

    def expected(self) -> int:
        """Number of stored clips that should be in the index."""
        with self.store.read() as session:
            return embeddings.count_indexable(session, self.model_row)

    def _load_model(self) -> tuple[Recogniser, int, NDArray[np.float32]]:
        with self.store.read() as session:
            decided = models.active(session)
        loaded = load(self.settings, decided)
        info = loaded.recogniser.info
        with self.store.read() as session:
            prior = models.prior_mean(session, info.digest)
            strangers = models.clips_of_others(session, info.digest)
        if strangers and not self.settings.allow_model_change:
            others = ", ".join(f"{count} by {m.id} ({m.digest[:12]}…)" for m, count in strangers)
            raise SettingsError(
                f"EMOSEEK_MODEL: clips here were embedded by another model: {others}. Searches "
                f"with {info.id} ({info.digest[:12]}…) would not find them. Start with the "
                "earlier model, use another EMOSEEK_DATA_DIR and ingest again, or set "
                "EMOSEEK_ALLOW_MODEL_CHANGE=true."
            )
        if prior is None:
            prior = loaded.prior_mean()
        with self.store.write() as session:
            model_row = models.activate(session, info, prior)
        return loaded.recogniser, model_row, prior

    def _index_dir(self) -> Path:
        """The active model's; snapshots of other models would keep deleted clips' vectors."""
        mine = index_directory(self.settings.data_dir, self.recogniser.info)
        for other in mine.parent.glob("*"):
            if other != mine and re.fullmatch("[0-9a-f]{16}", other.name):
                shutil.rmtree(other, ignore_errors=True)
        return mine

    def _recover(self) -> None:
        """Finish what a crash interrupted: audio of committed clips, files of deleted ones."""
        if unsettled := self.kept_audio.unsettled():
            log.info("A crash left %d audio files between two states.", len(unsettled))
            with self.store.read() as session:
                committed = clips.committed_keys(session, unsettled)
            for key in unsettled:
                (self.kept_audio.settle if key in committed else self.kept_audio.discard)(key)
        self._remove_doomed()

    def _started(self, name: str, *tasks: Task) -> threading.Thread:
        thread = threading.Thread(target=self._maintain, name=name, args=(tasks,), daemon=True)
        thread.start()
        return thread

    def _maintain(self, tasks: Sequence[Task]) -> None:
        """Do each at its interval, until the library closes."""
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        due = [time.monotonic() + interval for interval, _ in tasks]
        while not self._closing.wait(0.2):
            for number, (interval, task) in enumerate(tasks):
                if time.monotonic() < due[number]:
                    continue
                try:
                    task()
                    due[number] = time.monotonic() + interval
                except Exception:  # whatever it was, the next try may do better
                    log.exception("Maintenance failed and is tried again.")
                    due[number] = time.monotonic() + max(interval, RETRY_SECONDS)

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
