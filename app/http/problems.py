"""Every error leaves as application/problem+json (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.errors import EmoseekError, InvalidParameter, TooLarge

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An RFC 9457 problem."""

    success: bool = Field(False, description="Always false.")
    type: str = Field(description="What kind of problem, for programs.", examples=["too-large"])
    title: str = Field(description="What kind of problem, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request.")
    instance: str = Field(description="The path that was asked for.")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors of a route."""
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase}
        for status in sorted({401, 422, 503, *statuses})
    }


def problem(
    path: str,
    status: int,
    type_: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = Problem(
        success=False, type=type_, title=title, status=status, detail=detail, instance=path
    )
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def plain(path: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem of which only the status is known."""
    phrase = HTTPStatus(status).phrase
    detail = f"{phrase} ({path})."
    return problem(path, status, phrase.lower().replace(" ", "-"), phrase, detail, headers)


def refuse(scope: Scope, error: EmoseekError) -> JSONResponse:
    """The answer to a request, and a line in the log where the service is at fault."""
    if error.__cause__ is not None and error.status >= 500:
        log.warning("%s %s: %s (%r)", scope["method"], scope["path"], error, error.__cause__)
    return render(scope["path"], error)


def render(path: str, error: EmoseekError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(path, error.status, error.type, error.title, error.detail, headers)


def invalid(first: Mapping[str, Any], skip: int = 0) -> InvalidParameter:
    """A validation error of pydantic's, in words for the caller.

    Args:
        skip: leading parts of its location that say where, not what (query, body).
    """
    where = ".".join(str(part) for part in first["loc"][skip:]) or "body"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        where, what = "body", "is not JSON"
    elif first["type"] == "model_attributes_type":
        what = "must be a JSON object, sent with Content-Type: application/json"
    elif "UploadFile" in what:
        what = "must be a file; with curl: -F audio_file=@FILE"
    elif first["type"] == "missing":
        what = "is required"
    return InvalidParameter(where, f"{what}.")


def install(app: FastAPI) -> None:
    """Register the handlers on an app."""

    @app.exception_handler(EmoseekError)
    async def _refused(request: Request, error: EmoseekError) -> JSONResponse:
        return refuse(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return render(request.url.path, invalid(error.errors()[0], skip=1))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        too_large = error.status_code == 400 and "exceeded maximum size" in str(error.detail)
        if error.status_code == TooLarge.status or too_large:  # a form's part beside the file
            return render(request.url.path, TooLarge(str(error.detail)))
        return problem(
            request.url.path,
            error.status_code,
            phrase.lower().replace(" ", "-"),
            phrase,
            f"{request.method} {request.url.path}: {error.detail}",
            error.headers,
        )

    @app.exception_handler(Exception)
    async def _failed(request: Request, error: Exception) -> JSONResponse:
        # Starlette logs the stack trace; the caller does not see it.
        return problem(
            request.url.path,
            500,
            "internal",
            "The service failed",
            "An error that should not happen; the service's log has it.",
        )
