"""Whom a command asks: a running service, or the library of a data directory that nobody owns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import httpx

from app.cli.client import own_data_dir, service_or_none
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
    with service_or_none(settings, url) as client:
        if client is not None:
            click.echo(f"In the service at {client.base_url}", err=True)
            yield client
            return
    ownership = own_data_dir(settings)
    click.echo(f"No service runs: in {settings.data_dir.resolve()}", err=True)
    from app.library import Library

    library = Library(settings, ownership)
    try:
        yield library
    finally:
        library.close()
