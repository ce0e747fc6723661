"""Serves the page at / and its files below /page. Nothing of the page is computed here: whatever
it shows, its scripts ask of /api/v1 with the visitor's key, as any client does."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES: Final = Path(__file__).parent / "static"
BELOW: Final = "/page"
INDEX: Final = (FILES.parent / "index.html").read_text("utf-8")  # not below: it goes with headers

# Files are asked for anew with each visit and answered 304: an update of the service is seen at
# once, and no script of before meets one of now.
FRESH: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


def is_open(path: str) -> bool:
    """Whether a path is of the page, which anyone may read: it holds no data, and asks for the
    key itself."""
    return path == "/" or path.startswith(f"{BELOW}/")


def install(app: FastAPI) -> None:
    """Add the page to an app. It needs no library: it is there while one is opened."""
    headers = FRESH | {
        "Content-Security-Policy": policy(INDEX),
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
    }

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(_: Request) -> Response:
        return Response(INDEX, media_type="text/html", headers=headers)

    app.mount(BELOW, Files(directory=FILES), name="page")


def policy(index: str) -> str:
    """The Content-Security-Policy of the page: nothing from another host, and of scripts in the
    page itself only its import map."""
    inline = re.findall(r"<script[^>]*>([^<]+)</script>", index)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inline]
    return "; ".join(
        [
            "default-src 'none'",
            " ".join(["script-src 'self'", *(f"'sha256-{one}'" for one in hashes)]),
            "style-src 'self' 'unsafe-inline'",  # the waveform's shadow tree has a style element
            "img-src 'self' data:",
            "media-src 'self' blob:",
            "connect-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class Files(StaticFiles):
    """The page's files."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(FRESH)
        return response
