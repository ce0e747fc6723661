"""Whom a command asks: a running service, or the library of a data directory that nobody owns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import httpx

from app.cli.client import connect, unreachable
from app.data_dir import Ownership
from app.errors import DataDirInUse
from app.settings import load_settings

if TYPE_CHECKING:  # it takes seconds to import, which most commands can do without
    from app.library import Library


@contextlib.contextmanager
def open_either(url: str | None) -> Iterator[httpx.Client | Library]:
    """The service at `url`, or at the settings' host and port; without `url`, where none answers
    there, the library in the settings' data directory, which is given up at the end.

    Raises:
        Unavailable: no service answers at `url`.
        DataDirInUse: a service at another address owns the data directory.
    """
    settings = load_settings()
    with connect(settings, url) as client:
        try:
            client.get("/healthz")
        except httpx.TransportError as exc:
            if url is not None:
                raise unreachable(client, exc) from exc
        else:
            click.echo(f"In the service at {client.base_url}", err=True)
            yield client
            return
    try:
        ownership = Ownership(settings.data_dir)
    except DataDirInUse as exc:
        raise DataDirInUse(f"{exc.detail} Or name the service that runs there with --url.") from exc
    click.echo(f"No service runs: in {settings.data_dir.resolve()}", err=True)
    from app.library import Library

    library = Library(settings, ownership)
    try:
        yield library
    finally:
        library.close()
