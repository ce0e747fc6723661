"""The index of a data directory that no service works on, compared as it lies on the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.data_dir import Ownership
from app.domain import ModelInfo
from app.errors import NotFound
from app.library import index_check
from app.library.files import index_directory, match_data_dir
from app.library.index_check import IndexCheck, Repair
from app.library.live_index import LiveIndex
from app.settings import Settings
from app.store import Store, embeddings, models
from index import snapshot
from index.errors import SnapshotError, SnapshotNotFoundError


class SnapshotCheck:
    """Of the active model's index. The database gets the newest schema, else nothing is changed but
    by `repair`; no model is loaded.

    Raises:
        NotFound: nothing was ever stored here.
        SettingsError: the database is not this data directory's.
        DataDirInUse, Unavailable: as a Library.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        store.claim()
        store.migrate()
        match_data_dir(store, settings.data_dir)
        self._store = store
        self._model_row, self._model = _active(store)
        self._directory = index_directory(settings.data_dir, self._model)

    def check(self) -> IndexCheck:
        """Compare the newest snapshot with the database."""
        try:
            index, _ = snapshot.load(
                self._directory,
                model_digest=self._model.digest,
                dimension=self._model.dimension,
            )
        except (SnapshotError, OSError) as exc:
            return self._all_missing(exc)
        return index_check.compare(self._store, self._model_row, index, _go_on)

    def repair(self, found: IndexCheck) -> Repair:
        """Put a snapshot in its place that lacks what was found.

        Raises:
            OSError: the disk refused.
        """
        with self._store.read() as session:
            prior = models.prior_mean(session, self._model.digest)
        assert prior is not None
        # It takes over what was added and deleted, and rebuilds what cannot be loaded.
        live = LiveIndex(self._store, self._directory, self._model, self._model_row, prior)
        if found.unusable is None:
            done = index_check.repair(live, found, _go_on)
        else:
            done = Repair(found.compared, 0, 0, rebuilt=True)
        live.save()
        return done

    def _all_missing(self, why: SnapshotError | OSError) -> IndexCheck:
        with self._store.read() as session:
            wanted = embeddings.indexable_ids(session, self._model_row)
        if isinstance(why, SnapshotNotFoundError) and not len(wanted):
            return IndexCheck()
        faults = IndexCheck().faults | {"missing": wanted}
        return IndexCheck(compared=len(wanted), faults=faults, unusable=str(why))


@contextlib.contextmanager
def open_snapshot_check(settings: Settings, ownership: Ownership) -> Iterator[SnapshotCheck]:
    """Holds the data directory until the end. Raises as SnapshotCheck."""
    store = Store(settings.sqlalchemy_url)
    try:
        yield SnapshotCheck(settings, store)
    finally:
        store.close()
        ownership.release()


def _active(store: Store) -> tuple[int, ModelInfo]:
    with store.read() as session:
        active = models.active(session)
        if active is None:
            raise NotFound("No clip was ever stored in this data directory: there is no index.")
        [found] = models.named(session, active.digest)
    return found


def _go_on() -> None:
    """Nobody but the terminal's Ctrl-C gives such a check up."""
