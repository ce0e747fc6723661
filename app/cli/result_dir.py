"""Result directories that an installation of the HTTP interface left."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from app.domain import Embedding
from app.errors import InvalidParameter
from app.http.imported import ResultJson
from app.http.problems import invalid

RESULT, EMBEDDING, AUDIO = "result.json", "embedding.npy", "processed_audio.wav"
FRAMES_A_BLOCK = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One result directory; `source_path` is where it is below the directory that is imported."""

    key: str  # SHA-256 of its files
    name: str
    source_path: str
    told: ResultJson
    embedding: Embedding | None  # (D,)
    audio: Path | None


def find_results(directory: Path) -> list[Path]:
    """Directories below `directory`, or itself, that hold a result.json."""
    return sorted(path.parent for path in directory.rglob(RESULT) if path.is_file())


def read_result(path: Path, source_path: str) -> Result:
    """Raises InvalidParameter: a file in it is not what it should be; OSError."""
    present = [path / name for name in (RESULT, EMBEDDING, AUDIO) if (path / name).is_file()]
    digest = hashlib.sha256()
    for file_path in present:
        with file_path.open("rb") as file:
            digest.update(file_path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    try:
        told = ResultJson.model_validate_json((path / RESULT).read_bytes())
    except ValidationError as exc:
        raise InvalidParameter(RESULT, invalid(exc.errors()[0]).detail) from exc
    return Result(
        key=digest.hexdigest(),
        name=path.absolute().name,
        source_path=source_path,
        told=told,
        embedding=read_embedding(path / EMBEDDING) if path / EMBEDDING in present else None,
        audio=path / AUDIO if path / AUDIO in present else None,
    )


def read_embedding(path: Path) -> Embedding:
    """The (D,) embedding of a file (D,), or the mean of its frames (T, D).

    Raises:
        InvalidParameter: it is neither, or not of finite floating-point numbers.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as exc:
        raise InvalidParameter(EMBEDDING, f"is not a .npy file ({exc}).") from exc
    if array.ndim not in (1, 2) or array.dtype.kind != "f" or not array.size:
        raise InvalidParameter(
            EMBEDDING, f"is {array.dtype} {array.shape}, not (D,) or (T, D) float32."
        )
    embedding = _mean(array if array.ndim == 2 else array[None, :])
    if not np.isfinite(embedding).all():
        raise InvalidParameter(EMBEDDING, "holds a number that is not finite.")
    return embedding


def _mean(frames: NDArray[np.floating]) -> Embedding:
    """(T, D) → (D,), without reading all of an hour into memory."""
    total = np.zeros(frames.shape[1], np.float64)
    for start in range(0, len(frames), FRAMES_A_BLOCK):
        total += frames[start : start + FRAMES_A_BLOCK].sum(axis=0, dtype=np.float64)
    mean: Embedding = (total / len(frames)).astype(np.float32)
    return mean
