"""Where an import goes: a running service, or a data directory that nobody owns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from app.cli.client import ask, checked
from app.cli.result_dir import Result
from app.cli.target import open_either
from app.errors import NotFound, TooLarge
from app.http.imported import ImportedRow

IDS_A_REQUEST = 100_000
IMPORTS = "/api/v1/admin/imports"
ROWS = TypeAdapter(list[ImportedRow])


class Target(Protocol):
    """What both can do. Errors are those of app.library.imports and of app.cli.client."""

    def done(self, key: str, model: str | None) -> int:
        """How many rows of an import are stored."""

    def begin(
        self, key: str, model: str | None, rows: int, dimension: int, highest_id: int | None
    ) -> tuple[int, str]:
        """Begin an import or go on with it; returns how many of its rows are stored, and the
        digest of the model whose space they are in."""

    def forget(self, key: str, model: str | None) -> None:
        """Let a file be imported again; nothing happens if it was not."""

    def taken(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the ids that cannot be given to new clips."""

    def add_rows(
        self,
        key: str,
        model: str | None,
        first: int,
        vectors: NDArray[np.float32],
        rows: list[ImportedRow],
    ) -> None:
        """Store rows `first`, … of an import."""

    def add_result(self, result: Result) -> str:
        """Store a result directory; returns what became of it."""


@contextlib.contextmanager
def open_target(url: str | None) -> Iterator[Target]:
    """See app.cli.target.open_either."""
    with open_either(url) as found:
        if isinstance(found, httpx.Client):
            yield Remote(found)
        else:
            from app.cli.import_local import Local

            yield Local(found)


class Remote:
    """A running service."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def done(self, key: str, model: str | None) -> int:
        try:
            answer = self._ask("GET", f"/{key}", params=_model(model))
        except NotFound:
            return 0
        done: int = answer.json()["done"]
        return done

    def begin(
        self, key: str, model: str | None, rows: int, dimension: int, highest_id: int | None
    ) -> tuple[int, str]:
        body = {"rows": rows, "dimension": dimension, "highest_id": highest_id}
        begun = self._ask("PUT", f"/{key}", params=_model(model), json=body).json()
        return begun["done"], begun["model"]["digest"]

    def forget(self, key: str, model: str | None) -> None:
        with contextlib.suppress(NotFound):
            self._ask("DELETE", f"/{key}", params=_model(model))

    def taken(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        found: list[int] = []
        for start in range(0, len(ids), IDS_A_REQUEST):
            content = ids[start : start + IDS_A_REQUEST].astype("<i8").tobytes()
            found.extend(self._ask("POST", "/ids", files={"ids": content}).json()["taken"])
        return np.array(found, np.int64)

    def add_rows(
        self,
        key: str,
        model: str | None,
        first: int,
        vectors: NDArray[np.float32],
        rows: list[ImportedRow],
    ) -> None:
        files: dict[str, Any] = {"vectors": vectors.astype("<f4").tobytes()}
        if rows:
            files["rows"] = ROWS.dump_json(rows, exclude_defaults=True)
        params = _model(model) | {"first": first}
        try:
            self._ask("POST", f"/{key}/rows", params=params, files=files)
        except TooLarge:
            if len(vectors) == 1:
                raise
            half = len(vectors) // 2
            self.add_rows(key, model, first, vectors[:half], rows[:half])
            self.add_rows(key, model, first + half, vectors[half:], rows[half:])

    def add_result(self, result: Result) -> str:
        form = {"key": result.key, "name": result.name, "source_path": result.source_path}
        form["result"] = result.told.model_dump_json()
        files: dict[str, Any] = {}
        with contextlib.ExitStack() as opened:
            if result.embedding is not None:
                files["embedding"] = result.embedding.astype("<f4").tobytes()
            if result.audio is not None:
                files["audio_file"] = opened.enter_context(result.audio.open("rb"))
            answer = self._ask("POST", "/results", data=form, files=files)
        outcome: str = answer.json()["outcome"]
        return outcome

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, once it is neither `busy` nor `starting`.

        Raises:
            NotFound, TooLarge, Refused: as the service says.
            Unavailable: it gives no answer.
        """
        answer = ask(self._client, method, f"{IMPORTS}{path}", **request)
        for error in (NotFound, TooLarge):
            if answer.status_code == error.status:
                raise error(answer.json()["detail"])
        return checked(answer)


def _model(model: str | None) -> dict[str, Any]:
    return {} if model is None else {"model": model}
