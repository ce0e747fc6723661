"""Write app/http/openapi.json, the committed description of the HTTP interface."""

from __future__ import annotations

import json
from pathlib import Path

from app.library import Library
from app.main import create_app
from app.settings import Settings

PATH = Path(__file__).parents[1] / "app" / "http" / "openapi.json"


def openapi() -> str:
    """The interface as the code declares it, one line a value."""
    app = create_app(Settings(), _never, print)
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


def _never() -> Library:
    raise AssertionError("describing the interface opens no library")


if __name__ == "__main__":
    PATH.write_text(openapi(), "utf-8")
