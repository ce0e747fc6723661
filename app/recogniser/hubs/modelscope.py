"""ModelScope, through its own library."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.recogniser.hubs.contract import (
    WANTED_FILES,
    CannotDownload,
    ListedFile,
    Listing,
    endpoint,
)
from app.recogniser.hubs.progress import Progress

DEFAULT_ENDPOINT = "https://modelscope.cn"
# Seconds that the library gives a file (an hour unless set), and waits for a process that has it
# locked (ten minutes). 2 GB over a slow line take longer.
LIMITS = {
    "MODELSCOPE_DOWNLOAD_TOTAL_TIMEOUT": "86400",
    "MODELSCOPE_DOWNLOAD_FILE_LOCK_TIMEOUT_SECONDS": "86400",
}


class ModelScope:
    """See Hub. The library resumes, retries, checks SHA-256 and locks; it takes the bars off.

    It would write over what its cache holds, and keeps one revision in the older layouts. So each
    listing of files gets a directory of our own, below the cache's root.
    """

    setting = "modelscope"
    title = "ModelScope"
    default_revision = "master"

    def root(self) -> Path:
        default = Path.home() / ".cache" / "modelscope"
        return Path(os.environ.get("MODELSCOPE_CACHE") or default).expanduser()

    def record_file(self, model_id: str, revision: str) -> Path:
        name = f"{model_id}@{revision}".replace("/", "--")
        return self.root() / ".emoseek" / f"{name}.json"

    def directories(self, model_id: str, revision: str | None) -> Iterator[Path]:
        root = self.root()
        snapshots = root / "models" / model_id.replace("/", "--") / "snapshots"
        if revision is not None:
            yield snapshots / revision
            return
        yield snapshots / "master"
        yield snapshots / "main"
        yield from _older_layouts(root, model_id)

    def superseded(self, directory: Path) -> list[Path]:
        return [other for other in directory.parent.iterdir() if other != directory]

    def probe_url(self, model_id: str, revision: str) -> str:
        return (
            f"{_endpoint()}/api/v1/models/{model_id}/repo/files"
            f"?Revision={quote(revision, safe='')}&Recursive=False"
        )

    def listing(self, model_id: str, revision: str) -> Listing:
        try:
            found = _api().list_repo_files(model_id, "model", revision=revision, recursive=False)
        except Exception as exc:
            raise CannotDownload(_reason(exc)) from exc
        return Listing(
            tuple(
                ListedFile(file.path, file.size, (file.sha256 or "").lower() or None)
                for file in found
                if file.path in WANTED_FILES and file.type != "tree"
            ),
            commit=None,  # the interface names none
        )

    def fetch(self, model_id: str, revision: str, listing: Listing, progress: Progress) -> Path:
        files = [
            {"Path": file.name, "Size": file.size, "Sha256": file.sha256} for file in listing.files
        ]
        listed = repr(sorted((file.name, file.size, file.sha256) for file in listing.files))
        name = hashlib.sha256(listed.encode()).hexdigest()[:16]
        directory = self.record_file(model_id, revision).with_suffix("") / name
        directory.mkdir(parents=True, exist_ok=True)
        self._take_from_cache(model_id, listing, directory)
        try:
            _api().download_repo(
                model_id,
                "model",
                revision=revision,
                cache_dir=self.root(),  # for its locks
                local_dir=directory,
                file_list=files,
                progress_callbacks=[_reporting_to(progress)],
            )
        except Exception as exc:
            raise CannotDownload(_reason(exc)) from exc
        return directory

    def _take_from_cache(self, model_id: str, listing: Listing, directory: Path) -> None:
        """Link, or copy, the files that this machine has under any revision."""
        root, name = self.root(), model_id.replace("/", "--")
        places = [*root.glob(f".emoseek/{name}@*/*"), *root.glob(f"models/{name}/snapshots/*")]
        places += _older_layouts(root, model_id)
        for file in listing.files:
            target = directory / file.name
            if target.exists() or file.sha256 is None:
                continue
            if found := next((p / file.name for p in places if file.matches(p / file.name)), None):
                draft = target.with_suffix(".new")
                draft.unlink(missing_ok=True)
                try:
                    os.link(found.resolve(), draft)
                except OSError:  # another file system, or one without links
                    shutil.copy2(found, draft)
                draft.replace(target)


def _endpoint() -> str:
    return endpoint("MODELSCOPE_ENDPOINT", DEFAULT_ENDPOINT)


def _older_layouts(root: Path, model_id: str) -> Iterator[Path]:
    """Where earlier versions of the library, and so of FunASR, left a model."""
    owner, name = model_id.split("/")
    for top in (root / "models", root / "hub" / "models"):
        yield top / owner / name.replace(".", "___")
    yield root / model_id
    yield root / "hub" / model_id


def _api() -> Any:
    # Given a handler, the library does not install its own on stderr.
    chatty = logging.getLogger("modelscope_hub")
    if not chatty.handlers:
        chatty.addHandler(logging.NullHandler())
    for name, seconds in LIMITS.items():
        os.environ.setdefault(name, seconds)  # it looks once, when it is imported
    import modelscope_hub
    from modelscope_hub import _download
    from tqdm.auto import tqdm

    chatty.setLevel(logging.WARNING)
    # It draws bars even into a file; Progress has one for a terminal and lines for a log.
    _download.tqdm = functools.partial(tqdm, disable=True)
    return modelscope_hub.HubApi(endpoint=_endpoint())


def _reporting_to(progress: Progress) -> type:
    from modelscope_hub import ProgressCallback

    class Reporter(ProgressCallback):  # type: ignore[misc]
        def __init__(self, filename: str, file_size: int) -> None:
            super().__init__(filename, file_size)
            progress.start(filename, file_size)

        def update(self, size: int) -> None:
            progress.advance(self.filename, size)

    return Reporter


def _reason(exc: BaseException) -> str:
    from modelscope_hub import errors

    if isinstance(exc, errors.FileDownloadError) and exc.failed_files:
        name, exc = next(iter(exc.failed_files.items()))
        if isinstance(exc, errors.FileIntegrityError):
            return f"{name} arrived damaged each time"
        if isinstance(exc, errors.RequestTimeoutError) and not exc.retryable:
            return (
                f"{name} took too long, or another process is downloading it; the next attempt "
                "continues there"
            )
        if isinstance(exc, OSError) and exc.strerror:
            return f"{name}: {exc.strerror}"
        return f"the connection broke within {name}; the next attempt continues there"
    if isinstance(exc, errors.NotExistError):
        return "ModelScope has no such model or revision, or it is private"
    if isinstance(exc, errors.AuthenticationError | errors.PermissionDeniedError):
        return "ModelScope wants a login that may read it"
    if isinstance(exc, errors.NetworkError | errors.RequestTimeoutError | errors.ServerError):
        return "ModelScope does not answer"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return f"ModelScope's answer was not understood ({type(exc).__name__})"
