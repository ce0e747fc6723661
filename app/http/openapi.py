"""What /openapi.json says beyond what the routes declare."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app.http.problems import MEDIA_TYPE

DESCRIPTION = """Post a voice clip, get its emotion, find clips that sound like it.

Errors are `application/problem+json` (RFC 9457). With EMOSEEK_API_KEY set, every route but
/healthz and the page at / wants `Authorization: Bearer KEY`.

Every route that takes filters also takes `meta.KEY=VALUE`, equality on a top-level metadata key
(a value that is not a string is compared as its JSON). A parameter that such a route does not have
is refused, so that a misspelled filter never widens a search or a deletion."""


def install(app: FastAPI) -> None:
    """Give errors their media type and the key its scheme."""
    declared = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = declared()
            for path, methods in schema["paths"].items():
                for operation in methods.values():
                    _mend(path, operation)
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _mend(path: str, operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if int(status) >= 400 and "content" in response:
            [content] = response["content"].values()  # whatever the route answers with otherwise
            response["content"] = {MEDIA_TYPE: content}
    if path != "/healthz":
        operation["security"] = [{"key": []}, {}]  # or nothing, where no key is set
