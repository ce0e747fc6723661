"""Files beside the database: kept audio, the result directories of requests, where the index is."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from app.audio import write_flac, write_npy, write_wav
from app.domain import ModelInfo, Waveform
from app.errors import SettingsError
from app.store import Store, database

# json.dumps makes a new encoder at every call that has options.
to_json = json.JSONEncoder(ensure_ascii=False).encode
RESULT_DIR_NAME = re.compile(r"outputs_\d{8}_\d{6}(_\d+)?")
DOOMED_SUFFIX = ".doomed"
DATABASE_MARKER = "database"  # file that holds the id of the data directory's database


class KeptAudio:
    """One 16 kHz FLAC a clip, in 256 directories by the first two letters of its key.

    A file is written as KEY.new before its clip is committed and renamed after, so that what a
    crash leaves behind can be told from what belongs to a clip.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def keep(self, waveform: Waveform) -> str:
        """Write a waveform to disk, durably; returns its key, still to be settled."""
        key = f"{uuid.uuid4().hex}.flac"
        path = self._unsettled(key)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sync_directory(self.directory)
        try:
            with path.open("wb") as file:
                write_flac(waveform, file)
                file.flush()
                os.fsync(file.fileno())
            _sync_directory(path.parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return key

    def settle(self, key: str) -> None:
        """The clip of this key is committed."""
        os.replace(self._unsettled(key), self.path(key))

    def discard(self, key: str) -> None:
        """The clip of this key was not committed."""
        self._unsettled(key).unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        return self.directory / key[:2] / key

    def remove(self, key: str) -> None:
        """Remove a deleted clip's file, settled or (when the deletion was quicker) not yet."""
        self.discard(key)  # first: or else it could be settled in between
        self.path(key).unlink(missing_ok=True)

    def unsettled(self) -> list[str]:
        """Keys that a crash left between two states."""
        return [p.name.removesuffix(".new") for p in self.directory.glob("??/*.flac.new")]

    def _unsettled(self, key: str) -> Path:
        return self.directory / key[:2] / f"{key}.new"


class ResultDirs:
    """The directories that clients of the HTTP interface read results from."""

    def __init__(self, directory: Path, max_age_hours: float) -> None:
        self._directory = directory
        self._absolute = directory.resolve()
        self._max_age = max_age_hours * 3600  # seconds
        self._newest = ("", 0)  # the name's second, and the number that comes next in it
        self._naming = threading.Lock()

    def create(self, waveform: Waveform, embedding: np.ndarray | None) -> Path:
        """Make a directory that no other request has; returns its absolute path.

        Args:
            embedding: (D,) or (T, D) float32 to write beside the audio.
        """
        path = self._make()
        try:
            with (path / "processed_audio.wav").open("wb") as file:
                write_wav(waveform, file)
            if embedding is not None:
                with (path / "embedding.npy").open("wb") as file:
                    write_npy(embedding, file)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return path

    def _make(self) -> Path:
        directory = self._absolute
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
        stem = dt.datetime.now().astimezone().strftime("outputs_%Y%m%d_%H%M%S")
        while True:
            with self._naming:
                number = self._newest[1] if self._newest[0] == stem else 0
                self._newest = (stem, number + 1)
            path = directory / (f"{stem}_{number}" if number else stem)
            try:
                path.mkdir()
            except FileExistsError:  # of a service that ran before in this second
                continue
            return path

    def remove_old(self) -> int:
        """Remove directories older than the setting; returns how many."""
        removed = 0
        if not self._directory.is_dir():
            return 0
        for path in self._directory.iterdir():
            if RESULT_DIR_NAME.fullmatch(path.name.removesuffix(DOOMED_SUFFIX)) is None:
                continue
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > self._max_age:
                    shutil.rmtree(path)
                    removed += 1
        return removed


def as_json(result: Mapping[str, Any], encoded: Mapping[str, str]) -> str:
    """A line for each field: the frames of an hour are two million numbers, which indented would
    take many times the space and time.

    Args:
        encoded: by name, the JSON of those fields that were encoded before.
    """
    lines = (f"{to_json(name)}: {encoded.get(name) or to_json(result[name])}" for name in result)
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def write_result(result_dir: Path, text: str) -> None:
    (result_dir / "result.json").write_text(text, "utf-8")


def remove_result_dir(result_dir: Path, clip_id: int) -> None:
    """Remove a deleted clip's directory, unless it is another's now or no result directory.

    It gets another name first, so that a removal that was interrupted can be finished.

    Raises:
        OSError: it cannot be removed.
    """
    if RESULT_DIR_NAME.fullmatch(result_dir.name) is None:
        return
    doomed = result_dir.with_name(result_dir.name + DOOMED_SUFFIX)
    if _clip_of(result_dir) == clip_id:
        os.replace(result_dir, doomed)
    if doomed.is_dir():
        shutil.rmtree(doomed)


def _clip_of(result_dir: Path) -> int | None:
    try:
        result = json.loads((result_dir / "result.json").read_text("utf-8"))
        clip_id: int = result["clip_id"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    return clip_id


def as_clients_see(path: Path) -> str:
    """A path relative to the working directory, with forward slashes."""
    return os.path.relpath(path).replace(os.sep, "/")


def sha256_of(source: BinaryIO) -> str:
    """Hex SHA-256 of a file from where it stands; it is at its start afterwards."""
    digest = hashlib.sha256()
    while block := source.read(2**20):
        digest.update(block)
    source.seek(0)
    return digest.hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def index_directory(data_dir: Path, model: ModelInfo) -> Path:
    """Where snapshots of a model's index are."""
    return data_dir / "index" / model.digest[:16]


def match_data_dir(store: Store, data_dir: Path) -> None:
    """Refuse a database that this data directory's audio and index are not of.

    Raises:
        SettingsError: it is another one.
    """
    with store.write() as session:
        identity = database.identity(session)
    marker = data_dir / DATABASE_MARKER
    if not marker.exists():
        write_durably(marker, identity)
    elif marker.read_text() != identity:
        raise SettingsError(
            "EMOSEEK_DATABASE_URL is not the database that EMOSEEK_DATA_DIR "
            f"({data_dir}) belongs to. Set the right one, or another directory."
        )
