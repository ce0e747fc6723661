"""Models that may be named over HTTP: no path of this machine is among them."""

from __future__ import annotations

import re

from app.errors import InvalidParameter, ModelError, NotFound
from app.recogniser import Source
from app.recogniser.sources import cached, hub_id, local_or_cached
from app.settings import Settings

MODELS_DIR = "models"  # in the data directory
_DIRECTORY = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


def source_named(settings: Settings, name: str) -> Source:
    """`bundled`, a directory in DATA_DIR/models, or the id of a model that is cached; nothing is
    downloaded.

    Raises:
        InvalidParameter: it is none of these.
        NotFound: it is not on this machine.
    """
    if name == "bundled":
        return local_or_cached(name, settings.hub, None)
    if _DIRECTORY.fullmatch(name):
        path = settings.data_dir.resolve() / MODELS_DIR / name
        if not path.is_dir():
            raise NotFound(f"There is no directory {name} in {MODELS_DIR}/ of the data directory.")
        return local_or_cached(str(path), settings.hub, None)
    try:
        model_id = hub_id(name)
    except ModelError as exc:
        raise InvalidParameter(
            "model",
            "is `bundled`, a model's id, or the name of a directory in models/ of the data "
            "directory.",
        ) from exc
    source = cached(model_id, settings.hub, None)
    if source is None:
        raise NotFound(f"{model_id} is not cached here. Run `emoseek models pull {model_id}`.")
    return source
