"""The Hugging Face hub, through its own library."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from app.recogniser.hubs.contract import (
    WANTED_FILES,
    CannotDownload,
    ListedFile,
    Listing,
    endpoint,
)
from app.recogniser.hubs.progress import Progress

LISTING_SECONDS = 30.0  # the library would wait for ever
DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
DEFAULT_ENDPOINT = "https://huggingface.co"
# Models that are published on both hubs, by their ModelScope ids.
REPOSITORIES = {
    f"iic/emotion2vec_plus_{size}": f"emotion2vec/emotion2vec_plus_{size}"
    for size in ("large", "base", "seed")
}

log = logging.getLogger(__name__)


class HuggingFace:
    """See Hub.

    The library neither checks what it downloads nor continues a download that an earlier process
    began. So each file is brought into the cache's `blobs` here, where it is named by its
    checksum, and the snapshot laid out as the library does it, which would ask the hub again.
    """

    setting = "huggingface"
    title = "Hugging Face"
    default_revision = "main"

    def root(self) -> Path:
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
        home = os.environ.get("HF_HOME") or default
        return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()

    def record_file(self, model_id: str, revision: str) -> Path:
        name = f"emoseek@{revision}".replace("/", "--")
        return self._folder(model_id) / f"{name}.json"

    def directories(self, model_id: str, revision: str | None) -> Iterator[Path]:
        folder = self._folder(model_id)
        reference = folder / "refs" / (revision or self.default_revision)
        commit = reference.read_text().strip() if reference.is_file() else revision
        if commit:
            yield folder / "snapshots" / commit

    def superseded(self, directory: Path) -> list[Path]:
        return []  # the cache keeps what it has

    def probe_url(self, model_id: str, revision: str) -> str:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
                raise CannotDownload(f"{name} is set")
        at = quote(revision, safe="")
        return f"{_endpoint()}/api/models/{repository(model_id)}/revision/{at}"

    def listing(self, model_id: str, revision: str) -> Listing:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # Progress draws
        logging.getLogger("huggingface_hub").handlers.clear()  # what it warns of is logged once
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request
        try:
            info = HfApi(endpoint=_endpoint()).model_info(
                repository(model_id),
                revision=revision,
                files_metadata=True,
                timeout=LISTING_SECONDS,
            )
        except Exception as exc:
            raise CannotDownload(_reason(exc)) from exc
        files = tuple(
            ListedFile(file.rfilename, file.lfs.size, sha256=file.lfs.sha256)
            if file.lfs
            else ListedFile(file.rfilename, file.size or 0, git_sha1=file.blob_id)
            for file in info.siblings or ()
            if file.rfilename in WANTED_FILES
        )
        for name, digest in [("the commit", info.sha)] + [(f.name, _digest(f)) for f in files]:
            if DIGEST.fullmatch(str(digest)) is None:  # something in the cache will have this name
                raise CannotDownload(f"the hub gives no digest of {name}")
        return Listing(files, commit=info.sha)

    def fetch(self, model_id: str, revision: str, listing: Listing, progress: Progress) -> Path:
        try:
            for file in listing.files:
                self._fetch_blob(model_id, listing, file, progress)
        except CannotDownload:
            raise
        except Exception as exc:
            raise CannotDownload(_reason(exc)) from exc
        return self._lay_out(model_id, revision, listing)

    def _lay_out(self, model_id: str, revision: str, listing: Listing) -> Path:
        """The commit's directory of links into the blobs, and what the revision refers to."""
        folder, commit = self._folder(model_id), str(listing.commit)
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        for file in listing.files:
            draft = snapshot / f"{file.name}.new"
            draft.unlink(missing_ok=True)
            try:
                draft.symlink_to(Path("../../blobs") / _digest(file))
            except OSError:  # a file system without links
                shutil.copy2(folder / "blobs" / _digest(file), draft)
            draft.replace(snapshot / file.name)
        if revision != commit:
            reference = folder / "refs" / revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            draft = reference.with_name(f"{reference.name}.new")
            draft.write_text(commit)
            draft.replace(reference)
        return snapshot

    def _folder(self, model_id: str) -> Path:
        return self.root() / f"models--{repository(model_id).replace('/', '--')}"

    def _fetch_blob(
        self, model_id: str, listing: Listing, file: ListedFile, progress: Progress
    ) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import WeakFileLock, build_hf_headers

        blob = self._folder(model_id) / "blobs" / _digest(file)
        part = blob.with_name(f"{blob.name}.part")
        url = hf_hub_url(
            repository(model_id), file.name, revision=listing.commit, endpoint=_endpoint()
        )
        bar: Any = _reporting_to(progress, file)
        locks = self.root() / ".locks" / self._folder(model_id).name
        for directory in (blob.parent, locks):
            directory.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(locks / f"{blob.name}.lock"):
            for _ in range(2):
                if file.matches(blob):
                    return
                if part.is_file() and part.stat().st_size > file.size:
                    part.unlink()
                with part.open("ab") as target:
                    http_get(
                        url,
                        target,
                        resume_size=target.tell(),
                        headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                        expected_size=file.size,
                        displayed_filename=file.name,
                        tqdm_class=bar,
                    )
                if file.matches(part):
                    part.replace(blob)
                    return
                part.unlink()
                log.warning("%s of %s arrived damaged.", file.name, model_id)
        raise CannotDownload(f"{file.name} arrived damaged each time")


def repository(model_id: str) -> str:
    """Where a model is on the Hugging Face hub."""
    return REPOSITORIES.get(model_id, model_id)


def _digest(file: ListedFile) -> str:
    return str(file.sha256 or file.git_sha1)


def _endpoint() -> str:
    return endpoint("HF_ENDPOINT", DEFAULT_ENDPOINT)


def _reporting_to(progress: Progress, file: ListedFile) -> type:
    class Reporter:
        """As much of tqdm as the library calls."""

        def __init__(self, *, initial: int = 0, **_: object) -> None:
            progress.start(file.name, file.size)
            progress.advance(file.name, initial)

        def update(self, count: int) -> None:
            progress.advance(file.name, count)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Reporter


def _reason(exc: Exception) -> str:
    import httpx2  # what the library speaks HTTP with
    from huggingface_hub import errors

    if isinstance(exc, errors.RevisionNotFoundError):
        return "Hugging Face has the model, but not this revision"
    if isinstance(exc, errors.GatedRepoError):
        return "Hugging Face wants a login that may read it"
    if isinstance(exc, errors.RepositoryNotFoundError):
        return "Hugging Face has no such model, or it is private"
    if isinstance(exc, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(exc, errors.HfHubHTTPError):
        return f"Hugging Face answers with status {exc.response.status_code}"
    if isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "Hugging Face does not answer"
    if isinstance(exc, httpx2.TransportError):
        return "the connection broke; the next attempt continues there"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return f"Hugging Face's answer was not understood ({type(exc).__name__})"
