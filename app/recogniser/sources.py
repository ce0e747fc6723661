"""Where a model comes from: the bundled one, a directory, or a hub and its cache."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from pathlib import Path

from app.errors import ModelError
from app.recogniser.hubs import HUBS, MODELSCOPE_IDS, CannotDownload, Hub, Progress, cache, probe
from app.recogniser.hubs.contract import REQUIRED_FILES
from app.recogniser.model_dir import BUNDLED

LARGE = "iic/emotion2vec_plus_large"
PUBLISHED = (LARGE, "iic/emotion2vec_plus_base", "iic/emotion2vec_plus_seed")
BUNDLED_ID = "emoseek/bundled"

_PART = r"[A-Za-z0-9_][\w.-]{0,95}"  # longer names would not do as names of files
_MODEL_ID = re.compile(f"{_PART}/{_PART}", re.ASCII)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A model id and the directory it was found in."""

    id: str
    path: Path

    @property
    def bundled(self) -> bool:
        return self.id == BUNDLED_ID


def find(setting: str, decided: str | None, hub_name: str, revision: str | None) -> Source:
    """The model that EMOSEEK_MODEL asks for. What is cached is taken without asking any hub.

    Args:
        setting: auto, bundled, a model id, or a directory.
        decided: id of the model that `auto` was decided for earlier in this database.
        hub_name: modelscope or huggingface: whose cache, and where to download from.
        revision: branch, tag or commit on that hub; None is what was pulled last, or the hub's
            default branch.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    hub = HUBS[hub_name]
    if setting == "auto":
        if decided not in (None, "auto"):
            return find(decided, None, hub_name, revision)
        return _first_choice(hub, revision)
    if local := _local(setting):
        return local
    model_id = hub_id(setting)
    return cached(model_id, hub_name, revision) or _download_or_advise(model_id, hub, revision)


def local_or_cached(setting: str, hub_name: str, revision: str | None) -> Source:
    """The bundled model, a directory, or a cached model; nothing is downloaded.

    Raises:
        ModelError: it is not on this machine.
    """
    if local := _local(setting):
        return local
    model_id = hub_id(setting)
    if source := cached(model_id, hub_name, revision):
        return source
    raise ModelError(
        f"{_at(model_id, revision)} is not in {HUBS[hub_name].title}'s cache, or not as it was "
        f"downloaded. Run `emoseek models pull {model_id}`."
    )


def cached(model_id: str, hub_name: str, revision: str | None) -> Source | None:
    """A model from a hub's cache, or None. No network and none of the hubs' libraries."""
    path = cache.find(HUBS[hub_name], model_id, revision)
    return None if path is None else Source(model_id, path)


def pull(model_id: str, hub_name: str, revision: str | None) -> Source:
    """Download a model, or what its cached copy lacks or has damaged.

    Raises:
        ModelError: it could not be downloaded; the message says why.
    """
    hub = HUBS[hub_name]
    log.info("Asking %s for %s.", hub.title, _at(model_id, revision))
    wanted = revision or hub.default_revision
    try:
        with cache.locked(hub, model_id):
            listing = hub.listing(model_id, wanted)
            missing = set(REQUIRED_FILES) - {file.name for file in listing.files}
            if missing:
                raise CannotDownload(f"it is no emotion2vec model, no {min(missing)} is in it")
            with Progress(model_id) as progress:
                path = hub.fetch(model_id, wanted, listing, progress)
            cache.remember(hub, model_id, revision, path, listing)
    except CannotDownload as exc:
        raise ModelError(
            f"{_at(model_id, revision)} could not be downloaded from {hub.title}: {exc}."
        ) from exc
    except OSError as exc:
        raise ModelError(
            f"{_at(model_id, revision)} could not be written to {hub.root()}: {exc.strerror}."
        ) from exc
    log.info("%s is in %s.", _at(model_id, revision), path)
    return Source(model_id, path)


def hub_id(setting: str) -> str:
    """A model's id, the same whichever hub it comes from.

    Raises:
        ModelError: this is no model id.
    """
    if not _MODEL_ID.fullmatch(setting):
        raise ModelError(
            f"{setting[:200]!r} is neither a directory nor a model id such as {LARGE} "
            "(EMOSEEK_MODEL)."
        )
    return MODELSCOPE_IDS.get(setting, setting)


def auto_choice(hub_name: str, revision: str | None) -> tuple[str, str]:
    """What `auto` is in a new database, a model's id, and why, to stand after a comma."""
    hub = HUBS[hub_name]
    if cache.find(hub, LARGE, revision):
        return LARGE, "which is cached"
    if refusal := probe.refusal(hub, LARGE, revision):
        return BUNDLED_ID, f"because {refusal}"
    return LARGE, f"which {hub.title} would give"


def _first_choice(hub: Hub, revision: str | None) -> Source:
    if source := cached(LARGE, hub.setting, revision):
        return source
    reason = probe.refusal(hub, LARGE, revision)
    if reason is None:
        try:
            return pull(LARGE, hub.setting, revision)
        except ModelError as exc:
            reason = exc.detail.rstrip(".")
    log.warning(
        "%s is not in %s's cache (%s), and: %s. To use it run `emoseek models pull` where "
        "that hub can be reached, and set EMOSEEK_MODEL=%s.",
        LARGE,
        hub.title,
        hub.root(),
        reason,
        LARGE,
    )
    return Source(BUNDLED_ID, BUNDLED)


def _local(setting: str) -> Source | None:
    if setting in ("bundled", BUNDLED_ID):
        return Source(BUNDLED_ID, BUNDLED)
    if os.path.isdir(setting):  # Path's raises for a name that is too long
        return Source(str(Path(setting).resolve()), Path(setting).resolve())
    return None


def _download_or_advise(model_id: str, hub: Hub, revision: str | None) -> Source:
    try:
        return pull(model_id, hub.setting, revision)
    except ModelError as exc:
        raise ModelError(
            f"{exc.detail.rstrip('.')}, and it is not in the cache ({hub.root()}). Run `emoseek "
            f"models pull {model_id}` where that hub can be reached, or set EMOSEEK_MODEL to a "
            "directory that holds the model, or to `bundled`."
        ) from exc


def _at(model_id: str, revision: str | None) -> str:
    return model_id if revision is None else f"{model_id} at {revision}"
