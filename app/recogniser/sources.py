"""Where a model comes from: the bundled one, a directory, or ModelScope's cache and hub."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from pathlib import Path

import httpx

from app.errors import ModelError
from app.recogniser.model_dir import BUNDLED

LARGE = "iic/emotion2vec_plus_large"
BUNDLED_ID = "emoseek/bundled"
PROBE_SECONDS = 3.0  # how long `auto` waits for ModelScope to answer
WANTED_FILES = ["config.yaml", "configuration.json", "model.pt", "tokens.txt"]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A model id and the directory it was found in."""

    id: str
    path: Path

    @property
    def bundled(self) -> bool:
        return self.id == BUNDLED_ID


def find(setting: str, decided: str | None) -> Source:
    """The model that EMOSEEK_MODEL asks for.

    Args:
        setting: auto, bundled, a model id, or a directory.
        decided: id of the model that `auto` was decided for earlier in this database.

    Raises:
        ModelError: it cannot be had; the message says what to do.
    """
    if setting == "auto":
        return find(decided, None) if decided not in (None, "auto") else _first_choice()
    if setting in ("bundled", BUNDLED_ID):
        return Source(BUNDLED_ID, BUNDLED)
    if Path(setting).is_dir():
        return Source(str(Path(setting).resolve()), Path(setting).resolve())
    if setting.count("/") != 1 or setting.startswith((".", "/", "~")):
        raise ModelError(
            f"EMOSEEK_MODEL is {setting!r}, which is neither a directory nor a model id such as "
            f"{LARGE}."
        )
    return Source(setting, _cached(setting) or _download(setting))


def _first_choice() -> Source:
    """The large model if it is cached or can be downloaded, else the bundled one."""
    if cached := _cached(LARGE):
        return Source(LARGE, cached)
    if _hub_answers():
        try:
            return Source(LARGE, _download(LARGE))
        except ModelError as exc:
            log.warning("%s", exc.detail)
    log.warning(
        "%s is not in ModelScope's cache, and ModelScope does not answer. To use it, let this "
        "machine reach modelscope.cn and set EMOSEEK_MODEL=%s.",
        LARGE,
        LARGE,
    )
    return Source(BUNDLED_ID, BUNDLED)


def _cached(model_id: str) -> Path | None:
    if not _cache_dir().is_dir():
        return None
    from modelscope.hub.snapshot_download import snapshot_download  # 2 s to import

    try:
        path = Path(snapshot_download(model_id, cache_dir=_cache_dir(), local_files_only=True))
    except Exception:  # ModelScope has no common base for "not there"
        return None
    return path if (path / "model.pt").is_file() else None


def _cache_dir() -> Path:
    """Where ModelScope keeps downloaded models."""
    default = Path.home() / ".cache" / "modelscope"
    return Path(os.environ.get("MODELSCOPE_CACHE", default)).expanduser()


def _hub_answers() -> bool:
    """Whether ModelScope gives out the large model's smallest file within PROBE_SECONDS, name
    resolution included."""
    endpoint = os.environ.get("MODELSCOPE_ENDPOINT", "https://modelscope.cn")
    url = f"{endpoint}/models/{LARGE}/resolve/master/configuration.json"
    answered = threading.Event()

    def probe() -> None:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = httpx.get(url, timeout=PROBE_SECONDS, follow_redirects=True)
            if answer.is_success and answer.json():  # a page that wants a login is no JSON
                answered.set()

    # httpx's time-outs do not cover a resolver that never answers; a thread left behind does
    # no harm.
    thread = threading.Thread(target=probe, name="modelscope-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _download(model_id: str) -> Path:
    from modelscope.hub.snapshot_download import snapshot_download

    log.info("Downloading %s from ModelScope.", model_id)
    try:
        return Path(
            snapshot_download(model_id, cache_dir=_cache_dir(), allow_patterns=WANTED_FILES)
        )
    except Exception as exc:  # network, disk, unknown id: ModelScope raises many kinds
        raise ModelError(
            f"{model_id} is not in ModelScope's cache and could not be downloaded. Let this "
            "machine reach modelscope.cn once, or set EMOSEEK_MODEL to a directory that holds "
            "the model, or to `bundled`."
        ) from exc
