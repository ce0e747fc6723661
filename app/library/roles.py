"""Which model answers, which one hears new clips beside it, and how they change places."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator

from app.errors import Conflict, Unavailable
from app.library.commit_lock import CommitLock
from app.library.files import index_directory
from app.library.filter_columns import FilterColumns
from app.library.live_index import LiveIndex
from app.library.spaces import Space, Spaces, load_beside, load_beside_again
from app.library.summaries import Summaries
from app.recogniser import Source, is_model
from app.settings import Settings
from app.store import Store, models, recognitions


class Roles:
    """The spaces of a library: `spaces` is replaced in one assignment, so that who reads it once
    gets an answer of one piece. Clips are committed, changed and deleted, with all that follows
    in memory, under `commits.shared()`, and by the spaces as they are then: a switch waits.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        spaces: Spaces,
        filters: Callable[[], FilterColumns],
        summaries: Summaries,
    ) -> None:
        self.spaces = spaces
        self.commits = CommitLock()
        self._settings = settings
        self._store = store
        self._filters = filters
        self._summaries = summaries
        self._changing = threading.Lock()  # one change at a time
        self._tending = threading.Lock()
        self._filling: Space | None = None
        self._stopping = threading.Event()

    def open_beside(self, source: Source) -> Space:
        """Have new clips recognised by another model too, from now on. One that is beside already
        is given as it is.

        Raises:
            ModelError, SettingsError: the model cannot be had.
            Conflict: it is the active one, or another one is beside.
            Unavailable: the database does not answer, or the service stops.
        """
        with self._changing:
            self._check_open()
            with self._store.read() as session:
                other = models.beside(session)
            if other is not None and not is_model(source, other):
                raise Conflict(f"{other.id} is beside the active model; drop it first.")
            if self.spaces.beside is None:
                self._place(load_beside(self._settings, self._store, source, self._stopping))
            assert self.spaces.beside is not None
            return self.spaces.beside

    def close_beside(self) -> None:
        """New clips are recognised by the active model only. What the other one has made stays in
        the database; its snapshots do not, they would keep deleted clips' vectors."""
        with self._changing:
            space = self.spaces.beside
            with self._store.write() as session:
                models.remove_beside(session)
            self.spaces = Spaces(self.spaces.active)
            if space is not None:
                space.close()
                with self._tending:
                    directory = index_directory(self._settings.data_dir, space.model)
                    shutil.rmtree(directory, ignore_errors=True)

    def switch(self) -> Spaces:
        """Make the model that is beside the active one, and the reverse, in one moment for the
        database and for whoever reads `spaces`. Clips that it did not hear keep their scores.

        Raises:
            Conflict: none is beside.
            ModelError, SettingsError: it could not be loaded at the start, nor can it now.
            Unavailable: the database does not answer, or the service stops.
        """
        with self._changing:
            self._check_open()
            if self.spaces.beside is None:
                self._place(load_beside_again(self._settings, self._store, self._stopping))
            old = self.spaces
            assert old.beside is not None
            with self.commits.alone(), self._filters().rescoring() as rescore:
                try:
                    with self._store.write() as session:
                        # First: whoever reads a role waits. Set, not toggled: a switch whose
                        # commit happened although it raised may be asked for again.
                        models.set_roles(session, old.beside.model_row, old.active.model_row)
                        recognitions.swap(session, old.beside.model_row)
                        rescore(session)
                except Unavailable:
                    # Where this is not known either, asking again sets the same roles.
                    if not self._is_active(old.beside):
                        raise
                finally:
                    self._summaries.forget_all()
                self.spaces = Spaces(old.beside, old.active)
            return self.spaces

    @contextlib.contextmanager
    def filling(self, space: Space) -> Iterator[None]:
        """Its index is not tended meanwhile: what it lacks is on its way, by one build of all."""
        with self._tending:
            self._filling = space
        try:
            yield
        finally:
            self._filling = None

    def tend(self, task: Callable[[LiveIndex], None]) -> None:
        """Do a task of maintenance for each index."""
        for space in self.spaces:
            with self._tending:
                if space not in self.spaces or space is self._filling:
                    continue
                try:
                    task(space.index)
                except Unavailable:
                    if space in self.spaces:  # else it was closed meanwhile
                        raise

    def close(self) -> None:
        """Recognise nothing any more, and give up builds of indexes."""
        self._stopping.set()  # first: who opens a model, and has the lock, gives up
        with self._changing:
            for space in self.spaces:
                space.close()

    def _place(self, space: Space) -> None:
        self.spaces = Spaces(self.spaces.active, space)
        space.index.audit()  # of what was deleted before it was told of deletions

    def _is_active(self, space: Space) -> bool:
        """A commit that raised may have happened nonetheless."""
        with self._store.read() as session:
            return models.active(session) == space.model

    def _check_open(self) -> None:
        if self._stopping.is_set():
            raise Unavailable("The service is stopping.")
