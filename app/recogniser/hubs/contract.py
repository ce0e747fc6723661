"""What a hub of models is to the recogniser."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from app.recogniser.hubs.progress import Progress

REQUIRED_FILES = ("config.yaml", "model.pt", "tokens.txt")
WANTED_FILES = (*REQUIRED_FILES, "configuration.json")


class CannotDownload(Exception):
    """A hub does not give a model out; the text says why, to stand after a colon."""


@dataclasses.dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as its hub lists it. `git_sha1` is Git's name of the content, where no SHA-256 is."""

    name: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` has the size and checksum that the hub gave."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of(path) == self.sha256
        if self.git_sha1 is not None:
            header = f"blob {self.size}\0".encode()
            git = hashlib.sha1(header + path.read_bytes(), usedforsecurity=False)
            return git.hexdigest() == self.git_sha1
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """The wanted files of a model at one revision, and the commit where the hub names it."""

    files: tuple[ListedFile, ...]
    commit: str | None


class Hub(Protocol):
    """A place to download models from, and the cache that its own tools keep on this machine.

    Models are named by their ModelScope id whichever hub they come from. A revision is a branch,
    a tag or a commit.
    """

    setting: str  # value of EMOSEEK_HUB
    title: str
    default_revision: str

    def root(self) -> Path:
        """Top of the hub's cache."""
        ...

    def record_file(self, model_id: str, revision: str) -> Path:
        """Where to remember what was downloaded, outside what the hub's tools look at."""
        ...

    def directories(self, model_id: str, revision: str | None) -> Iterator[Path]:
        """Where the hub's tools leave a model, likeliest first; they need not exist. Without a
        revision, places whose revision is not known are among them."""
        ...

    def superseded(self, directory: Path) -> list[Path]:
        """What `fetch` kept of the same model and revision before it made this directory."""
        ...

    def probe_url(self, model_id: str, revision: str) -> str:
        """Answers with JSON when the model can be had.

        Raises:
            CannotDownload: the hub is not to be asked.
        """
        ...

    def listing(self, model_id: str, revision: str) -> Listing:
        """Ask the hub for a model's files.

        Raises:
            CannotDownload: there is no such model or revision, or no connection.
        """
        ...

    def fetch(self, model_id: str, revision: str, listing: Listing, progress: Progress) -> Path:
        """Bring the listed files into the cache; returns their directory.

        Nothing is written to a directory that another listing is served from. What is there and
        has the right checksum is not fetched again, a broken download is continued, and a file
        that arrives damaged is fetched anew once or more.

        Raises:
            CannotDownload: not all of them came.
        """
        ...


def endpoint(variable: str, default: str) -> str:
    """A hub's address as an environment variable has it, https:// where it names no scheme."""
    address = os.environ.get(variable) or default
    return (address if "://" in address else f"https://{address}").rstrip("/")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
