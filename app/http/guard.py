"""What every request and answer passes: the key, a limit on the body, errors as problems."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLarge, Unauthorised
from app.http.problems import MEDIA_TYPE, plain, render

BESIDE_THE_FILE = 2**18  # bytes allowed for the other parts of a form: metadata, tags, headers


class ApiKey:
    """Wants `Authorization: Bearer KEY` on every route but /healthz and what `is_open` names."""

    def __init__(self, app: ASGIApp, key: str, is_open: Callable[[str], bool]) -> None:
        self._app = app
        self._expected = key.encode()
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._may_anyone(scope["path"]):
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
            if scheme.lower() != "bearer" or not right:
                error = Unauthorised(
                    "The key is missing or wrong; send `Authorization: Bearer KEY`."
                )
                await render(scope["path"], error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may_anyone(self, path: str) -> bool:
        return path == "/healthz" or self._is_open(path)


class BodyLimit:
    """Stops reading a body that is larger than any upload may be, declared or not."""

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app = app
        self._limit = max_upload_bytes + BESIDE_THE_FILE
        self._detail = (
            f"The upload is larger than {max_upload_bytes / 2**20:g} MB (EMOSEEK_MAX_UPLOAD_MB)."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._limit:
            await render(scope["path"], TooLarge(self._detail))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                # An HTTPException passes through the form parser; others become a 400.
                raise HTTPException(413, self._detail)
            return message

        await self._app(scope, counted, send)


class ProblemsOnly:
    """Turns errors that a library answers in its own way into problems."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        replaced = False

        async def checked(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = MutableHeaders(raw=message["headers"])
                if headers.get("content-type") != MEDIA_TYPE:
                    replaced = True
                    kept = {k: v for k, v in headers.items() if k in ("content-range", "allow")}
                    answer = plain(scope["path"], message["status"], kept)
                    await answer(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, checked)
