"""Imports into a library of our own, where no service runs."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from app.cli.result_dir import Result
from app.errors import NotFound
from app.http.imported import ImportedRow
from app.http.imports import as_block
from app.library import Library, imports
from app.library.import_results import ResultDirectory, import_result
from app.recogniser import Flow


class Local:
    """See app.cli.import_target.Target."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def done(self, key: str, model: str | None) -> int:
        try:
            return imports.find(self._library, key, model).done
        except NotFound:
            return 0

    def begin(
        self, key: str, model: str | None, rows: int, dimension: int, highest_id: int | None
    ) -> tuple[int, str]:
        begun = imports.begin(
            self._library, key, model, rows=rows, dimension=dimension, highest_id=highest_id
        )
        return begun.done, begun.model.digest

    def forget(self, key: str, model: str | None) -> None:
        with contextlib.suppress(NotFound):
            imports.forget(self._library, key, model)

    def taken(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return imports.taken(self._library, ids)

    def add_rows(
        self,
        key: str,
        model: str | None,
        first: int,
        vectors: NDArray[np.float32],
        rows: list[ImportedRow],
    ) -> None:
        imports.add_rows(self._library, key, model, first, *as_block(vectors, rows))

    def add_result(self, result: Result) -> str:
        opening = contextlib.nullcontext() if result.audio is None else result.audio.open("rb")
        with opening as audio:
            given = ResultDirectory(
                key=result.key,
                name=result.name,
                heard=result.told.given_scores(),
                fields=result.told.fields(result.source_path),
                embedding=result.embedding,
                audio=audio,
                clip_id=result.told.clip_id,
                model_digest=result.told.model_digest,
            )
            return import_result(self._library, given, Flow()).outcome
