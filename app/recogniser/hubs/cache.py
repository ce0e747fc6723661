"""Which models are on this machine already, found without importing or asking any hub.

After a download a small JSON file beside the hub's cache remembers which directory it went to
and what each file was. A restart serves exactly those files: neither a branch that moved on nor
another program that updates the shared cache changes the model unnoticed. That file is written
last, so that until a download is whole the one before it is served.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from app.recogniser.hubs.contract import (
    REQUIRED_FILES,
    WANTED_FILES,
    CannotDownload,
    Hub,
    Listing,
    sha256_of,
)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """A file as it was after its download."""

    size: int
    mtime_ns: int
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A finished download: its directory, relative to the cache's root, and its files."""

    directory: str
    commit: str | None
    files: dict[str, Remembered]

    def changed_file(self, root: Path, *, thorough: bool = False) -> str | None:
        """Name of a file that is not as it was downloaded, or None.

        Contents are read where the time of change differs (a copied cache), or if `thorough`.
        """
        for name, then in self.files.items():
            path = root / self.directory / name
            if not path.is_file() or path.stat().st_size != then.size:
                return name
            suspect = thorough or path.stat().st_mtime_ns != then.mtime_ns
            if suspect and sha256_of(path) != then.sha256:
                return name
        return None


def find(hub: Hub, model_id: str, revision: str | None) -> Path | None:
    """The cached directory of a model, or None. Touches nothing but the disk."""
    record = recall(hub, model_id, revision)
    if record is not None:
        if (name := record.changed_file(hub.root())) is None:
            return hub.root() / record.directory
        log.warning("%s: %s in the cache is not as it was downloaded.", model_id, name)
        return None
    for directory in hub.directories(model_id, revision):
        if all((directory / name).is_file() for name in REQUIRED_FILES):
            return directory
    return None


def remember(
    hub: Hub, model_id: str, revision: str | None, directory: Path, listing: Listing
) -> None:
    """Check the files of a finished download against the hub's listing, and note them; what they
    replace is removed.

    Raises:
        CannotDownload: one is not what the hub listed.
    """
    files = {}
    for listed in listing.files:
        path = directory / listed.name
        if not listed.matches(path):
            raise CannotDownload(f"{listed.name} is not the file that the hub lists")
        stat = path.stat()
        sha256 = listed.sha256 or sha256_of(path)
        files[listed.name] = Remembered(stat.st_size, stat.st_mtime_ns, sha256)
    place = os.path.relpath(directory.resolve(), hub.root().resolve())
    record = Record(place, listing.commit, files)
    target = hub.record_file(model_id, revision or hub.default_revision)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.new")
    draft.write_text(json.dumps(dataclasses.asdict(record), indent=1))
    draft.replace(target)
    for old in hub.superseded(directory):
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(hub: Hub, model_id: str) -> Iterator[None]:
    """One process at a time downloads a model, whichever revision; the others wait until it has
    it or has ended."""
    path = hub.record_file(model_id, hub.default_revision).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("Another process is downloading %s; waiting for it.", model_id)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            log.debug("%s cannot be locked.", path)
        yield


def recall(hub: Hub, model_id: str, revision: str | None) -> Record | None:
    """What was noted of the last download of a model, if anything."""
    try:
        noted = json.loads(hub.record_file(model_id, revision or hub.default_revision).read_text())
        files = {name: Remembered(**noted["files"][name]) for name in noted["files"]}
        return Record(noted["directory"], noted["commit"], files)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never downloaded by us, or a file that says nothing


def size_on_disk(directory: Path) -> int:
    """Bytes of the files that make a model."""
    paths = [directory / name for name in WANTED_FILES]
    return sum(path.stat().st_size for path in paths if path.is_file())
