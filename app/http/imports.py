"""Import: vectors that were made elsewhere, in blocks of rows, and result directories."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, UploadFile
from numpy.typing import NDArray
from pydantic import BaseModel, FailFast, Field, TypeAdapter, ValidationError

from app.domain import ModelInfo
from app.errors import InvalidParameter
from app.http.hang_up import while_connected
from app.http.imported import ImportedRow, ResultJson
from app.http.parameters import Text, library_of
from app.http.problems import invalid, responses
from app.http.recognise import check_upload
from app.http.schemas import Model, model_view
from app.library import Library, imports
from app.library.import_results import Outcome, ResultDirectory, import_result
from app.recogniser import Flow
from app.store.ids import HIGHEST_GIVEN

Key = Annotated[
    str,
    Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of all that is imported; the caller's."),
]
ModelName = Annotated[
    Text | None,
    Query(
        description="A model of this database, by id or digest; unless given, the one that the "
        "import was begun with, or else the active one."
    ),
]
ROWS = TypeAdapter(Annotated[list[ImportedRow], FailFast()])

router = APIRouter(prefix="/api/v1/admin/imports", tags=["import"])


class ImportState(BaseModel):
    """How far an import of vectors has come."""

    key: str
    model: Model
    rows: int
    done: int = Field(description="Rows that are stored; the next block begins with this one.")

    @classmethod
    def of(cls, state: imports.Import) -> ImportState:
        return cls(key=state.key, model=model_view(state.model), rows=state.rows, done=state.done)


class ImportBegin(BaseModel):
    rows: int = Field(ge=1, le=2**40)
    dimension: int = Field(ge=1, description="Numbers in a vector; must be the model's.")
    highest_id: int | None = Field(
        None, ge=1, le=HIGHEST_GIVEN, description="Ids up to this one are kept for the rows."
    )


class Taken(BaseModel):
    taken: list[int] = Field(description="Ids that cannot be given to new clips, ascending.")


class ImportedResult(BaseModel):
    outcome: Outcome
    clip_id: int


@router.post("/results", responses=responses(400, 413, 415, 429), summary="Import a result")
async def import_results(
    request: Request,
    key: str = Form(pattern="^[0-9a-f]{64}$", description="SHA-256 of the directory's files."),
    name: Text = Form(description="The directory's name."),
    result: str = Form(description="result.json, or of it what ResultJson has."),
    source_path: Text | None = Form(None, description="Kept as metadata."),
    embedding: UploadFile | None = File(
        None, description="(D,) little-endian float32 of the active model."
    ),
    audio_file: UploadFile | None = File(None, description="processed_audio.wav."),
    library: Library = Depends(library_of),
) -> ImportedResult:
    """Stores a result directory of another installation as a clip, once; scores stay as they
    are. Without an embedding, the audio is recognised anew for one."""
    try:
        heard = ResultJson.model_validate_json(result)
    except ValidationError as exc:
        raise invalid(exc.errors()[0]) from exc
    if audio_file is not None:
        check_upload(audio_file, library)
    given = ResultDirectory(
        key=key,
        name=name,
        heard=heard.given_scores(),
        fields=heard.fields(source_path),
        embedding=None if embedding is None else _floats("embedding", await embedding.read()),
        audio=None if audio_file is None else audio_file.file,
        clip_id=heard.clip_id,
        model_digest=heard.model_digest,
    )
    flow = Flow()
    imported = await while_connected(request, flow, lambda: import_result(library, given, flow))
    return ImportedResult(outcome=imported.outcome, clip_id=imported.clip_id)


@router.post("/ids", responses=responses(413), summary="Which ids are taken")
def taken_ids(
    ids: UploadFile = File(description="Little-endian int64."),
    library: Library = Depends(library_of),
) -> Taken:
    content = ids.file.read()
    if len(content) % 8:
        raise InvalidParameter("ids", "must be little-endian int64.")
    wanted = np.frombuffer(content, "<i8").astype(np.int64)
    return Taken(taken=imports.taken(library, wanted).tolist())


@router.get("/{key}", responses=responses(404, 409), summary="How far an import has come")
def get_import(
    key: Key, model: ModelName = None, library: Library = Depends(library_of)
) -> ImportState:
    return ImportState.of(imports.find(library, key, model))


@router.put("/{key}", responses=responses(404, 409), summary="Begin an import, or go on with it")
def begin_import(
    key: Key, wanted: ImportBegin, model: ModelName = None, library: Library = Depends(library_of)
) -> ImportState:
    return ImportState.of(imports.begin(library, key, model, **wanted.model_dump()))


@router.delete("/{key}", status_code=204, responses=responses(404, 409), summary="Forget an import")
def forget_import(
    key: Key, model: ModelName = None, library: Library = Depends(library_of)
) -> None:
    """Its clips stay; the same file may be imported once more."""
    imports.forget(library, key, model)


@router.post(
    "/{key}/rows", responses=responses(404, 409, 413), summary="Store the next rows of an import"
)
def import_rows(
    key: Key,
    vectors: UploadFile = File(description="(n, D) little-endian float32, row after row."),
    rows: UploadFile | None = File(
        None, description="JSON list of n ImportedRow; left out, nothing is said of the clips."
    ),
    first: int = Query(ge=0, description="Number of the first row, which must be the next one."),
    model: ModelName = None,
    library: Library = Depends(library_of),
) -> ImportState:
    """All of them are stored, or none. Every row has an `id`, or none has one."""
    _, info = imports.space_of(library, key, model)
    block = _floats("vectors", vectors.file.read(), info)
    try:
        said = [] if rows is None else ROWS.validate_json(rows.file.read())
    except ValidationError as exc:
        raise invalid(exc.errors()[0]) from exc
    return ImportState.of(imports.add_rows(library, key, model, first, *as_block(block, said)))


def as_block(
    vectors: NDArray[np.float32], rows: list[ImportedRow]
) -> tuple[NDArray[np.float32], list[Any], NDArray[np.int64] | None]:
    """What imports.add_rows takes of (n, D) vectors and n rows (or none: nothing is said).

    Raises:
        InvalidParameter: the numbers differ, or the ids are not all there and different.
    """
    rows = rows or [ImportedRow()] * len(vectors)
    if len(rows) != len(vectors) or not len(vectors):
        raise InvalidParameter("rows", f"are {len(rows)} for {len(vectors)} vectors.")
    given = [row.id for row in rows if row.id is not None]
    if given and len(set(given)) != len(rows):
        raise InvalidParameter("rows", "must all have an id, each another, or none.")
    ids = np.array(given, np.int64) if given else None
    return vectors, [row.as_clip() for row in rows], ids


def _floats(name: str, content: bytes, info: ModelInfo | None = None) -> NDArray[np.float32]:
    """(n, D) of the model, or (n,) without one."""
    width = 4 * (info.dimension if info else 1)
    if not content or len(content) % width:
        raise InvalidParameter(name, f"must be float32, {width} bytes a row.")
    floats = np.frombuffer(content, "<f4").astype(np.float32)
    if not np.isfinite(floats).all():
        raise InvalidParameter(name, "holds a number that is not finite.")
    return floats.reshape(-1, info.dimension) if info else floats
