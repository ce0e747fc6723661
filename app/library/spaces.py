"""A model with its index, and which of them does what in a library."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
import threading
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from app.domain import ModelInfo
from app.errors import Conflict, EmoseekError, ModelError, SettingsError
from app.library import recordings
from app.library.files import index_directory
from app.library.live_index import LiveIndex
from app.library.loading import unless_stopping
from app.recogniser import Loaded, Recogniser, Source, is_pinned, load, load_from, load_stored
from app.settings import Settings
from app.store import Store, models, recognitions
from index.gpu import find_gpu

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Space:
    """What one model makes of the clips: its embeddings can be compared with no other's."""

    recogniser: Recogniser
    model_row: int  # the store's id of the model
    index: LiveIndex

    @property
    def model(self) -> ModelInfo:
        return self.recogniser.info

    def close(self) -> None:
        """Nothing is recognised any more; a build of the index is given up."""
        self.recogniser.close()
        self.index.stop()


@dataclasses.dataclass(frozen=True, slots=True)
class Spaces:
    """Requests are answered from the active space. New clips go to both."""

    active: Space
    beside: Space | None = None

    def __iter__(self) -> Iterator[Space]:
        yield self.active
        if self.beside is not None:
            yield self.beside


def load_active(settings: Settings, store: Store) -> Loaded:
    """The model that the settings and the database say, which may be used with it.

    Raises:
        ModelError, SettingsError: it cannot be had, or not with this database.
        Unavailable: the database does not answer.
    """
    with store.read() as session:
        decided, other = models.active(session), models.beside(session)
    loaded = _load_active(settings, decided, other)
    model = loaded.recogniser.info
    left = decided if other is not None and other.digest == model.digest else None
    try:
        _refuse_change(settings, store, model, decided if left is None else other)
        with store.write() as session:
            for row, _ in models.named(session, model.digest):  # unless it is new here
                if left is not None:
                    models.set_roles(session, row, models.row_of(session, left.digest))
                # Whatever made it the active one: what it heard is what is said of the clips.
                recognitions.swap(session, row)
    except BaseException:
        loaded.recogniser.close()
        raise
    return loaded


def open_spaces(settings: Settings, store: Store, loaded: Loaded) -> Spaces:
    """The space of the active model, and the one that the database says is beside it; without
    that when it cannot be had.

    Raises:
        ModelError: the active model is not whole.
        Unavailable: the database does not answer.
    """
    active = loaded.recogniser.info
    with store.read() as session:
        other = models.beside(session)
    in_use = {active.digest, recordings.MODEL.digest, *([other.digest] if other else [])}
    _remove_indexes(settings, in_use)
    prior = _prior(store, loaded)
    with store.write() as session:
        model_row = models.activate(session, active, prior)
    spaces = Spaces(_space(settings, store, loaded, model_row, prior))
    if other is None or other.digest == active.digest:
        return spaces
    try:
        return Spaces(spaces.active, _beside(settings, store, load_stored(settings, other)))
    except EmoseekError as exc:
        log.warning(
            "%s is beside the active model and cannot be loaded, so new clips are not recognised "
            "by it: %s",
            other.id,
            exc.detail,
        )
        return spaces


def load_beside(
    settings: Settings, store: Store, source: Source, stopping: threading.Event
) -> Space:
    """Load a model with its index, and note that it is beside the active one.

    Raises:
        Unavailable: `stopping` was set meanwhile, or the database does not answer.
        ModelError, SettingsError: the model cannot be had.
        Conflict: it is the active one.
    """
    with store.read() as session:
        known = [model.digest for _, model in models.named(session, source.id)]
        active = models.active(session)
    loaded = unless_stopping(stopping, lambda: load_from(settings, source, known))
    if active is not None and loaded.recogniser.info.digest == active.digest:
        loaded.recogniser.close()
        raise Conflict(f"{active.id} is the active model already.")
    try:
        return _beside(settings, store, loaded, stopping)
    except BaseException:
        with store.write() as session:
            models.remove_beside(session)
        raise


def load_beside_again(settings: Settings, store: Store, stopping: threading.Event) -> Space:
    """Load the model that the database says is beside, which could not be loaded at the start.

    Raises:
        Unavailable: as `load_beside`.
        Conflict: there is none.
        ModelError, SettingsError: it cannot be loaded now either.
    """
    with store.read() as session:
        other = models.beside(session)
    if other is None:
        raise Conflict("No other model is beside the active one.")
    loaded = unless_stopping(stopping, lambda: load_stored(settings, other))
    return _beside(settings, store, loaded, stopping)


def _load_active(settings: Settings, decided: ModelInfo | None, other: ModelInfo | None) -> Loaded:
    if decided is None or other is None:
        return load(settings, decided)
    names_other = is_pinned(settings, other) and not is_pinned(settings, decided)
    if names_other and settings.allow_model_change:
        log.warning(
            "EMOSEEK_MODEL is %s and EMOSEEK_ALLOW_MODEL_CHANGE is set: it is the active model "
            "again, as by a rollback, and %s is beside it.",
            settings.model,
            decided.id,
        )
        return load_stored(settings, other)
    try:
        loaded = load_stored(settings, decided) if names_other else load(settings, decided)
    except (ModelError, SettingsError) as exc:
        raise type(exc)(
            f"{decided.id} is the active model since a reindex, and it cannot be had: "
            f"{exc.detail} To go back to the model before, set EMOSEEK_MODEL={other.id} and "
            "EMOSEEK_ALLOW_MODEL_CHANGE=true."
        ) from exc
    if names_other:
        log.warning(
            "EMOSEEK_MODEL is %s, but a reindex has made %s the active model, and it is served. "
            "Set EMOSEEK_MODEL=%s, or roll the reindex back.",
            settings.model,
            decided.id,
            decided.id,
        )
    return loaded


def _refuse_change(
    settings: Settings, store: Store, model: ModelInfo, decided: ModelInfo | None
) -> None:
    """Raises SettingsError when the clips here were embedded by another model, unless that is
    allowed or known."""
    with store.read() as session:
        strangers = models.clips_of_others(session, model.digest)
    if not strangers:
        return
    others = ", ".join(f"{count} by {m.id} ({m.digest[:12]}…)" for m, count in strangers)
    is_decided = decided is not None and decided.digest == model.digest
    if settings.allow_model_change or is_decided:
        # Allowed, or after a reindex: those whose audio was not kept.
        log.warning("Searches do not find clips that only another model embedded: %s.", others)
        return
    raise SettingsError(
        f"EMOSEEK_MODEL: clips here were embedded by another model: {others}. Searches "
        f"with {model.id} ({model.digest[:12]}…) would not find them. Start with the "
        "earlier model, use another EMOSEEK_DATA_DIR and ingest again, or set "
        "EMOSEEK_ALLOW_MODEL_CHANGE=true."
    )


def _remove_indexes(settings: Settings, kept: Collection[str]) -> None:
    """Snapshots of models that are in no use would keep deleted clips' vectors."""
    names = {digest[:16] for digest in kept}
    for path in (settings.data_dir / "index").glob("*"):
        if path.name not in names and re.fullmatch("[0-9a-f]{16}", path.name):
            shutil.rmtree(path, ignore_errors=True)


def _prior(store: Store, loaded: Loaded) -> NDArray[np.float32]:
    with store.read() as session:
        prior = models.prior_mean(session, loaded.recogniser.info.digest)
    return loaded.prior_mean() if prior is None else prior


def _beside(
    settings: Settings, store: Store, loaded: Loaded, stopping: threading.Event | None = None
) -> Space:
    try:
        prior = _prior(store, loaded)
        with store.write() as session:
            model_row = models.place_beside(session, loaded.recogniser.info, prior)
        return _space(settings, store, loaded, model_row, prior, stopping)
    except BaseException:
        loaded.recogniser.close()
        raise


def _space(
    settings: Settings,
    store: Store,
    loaded: Loaded,
    model_row: int,
    prior: NDArray[np.float32],
    stopping: threading.Event | None = None,
) -> Space:
    model = loaded.recogniser.info
    directory, gpu = index_directory(settings.data_dir, model), find_gpu(settings.device)
    index = LiveIndex(store, directory, model, model_row, prior, gpu, stopping)
    return Space(loaded.recogniser, model_row, index)
