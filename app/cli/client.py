"""The HTTP client that commands share."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx

from app.data_dir import Ownership
from app.errors import DataDirInUse, EmoseekError, Unauthorised, Unavailable
from app.settings import Settings

TIMEOUT_SECONDS = 900.0  # a long file is answered when all of it was heard
GIVE_UP_SECONDS = 60.0  # without another answer than "busy" or "starting"


class Refused(EmoseekError):
    """The service answered with an error."""


def connect(settings: Settings, url: str | None) -> httpx.Client:
    """A client of the running service; `url` overrides the settings' host and port."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = url or f"http://{host}:{settings.port}"
    if "://" not in base:
        base = f"http://{base}"
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    return httpx.Client(
        base_url=base, headers=headers, timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=10.0)
    )


def checked(response: httpx.Response) -> httpx.Response:
    """The response, if it is a success.

    Raises:
        Refused: it is not; the message is the service's.
    """
    if response.is_success:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.text[:200]
    if response.status_code == Unauthorised.status:
        raise Refused("The service wants a key, or another one; set EMOSEEK_API_KEY.")
    raise Refused(f"The service answered {response.status_code}: {detail}")


def unreachable(client: httpx.Client, cause: Exception) -> Unavailable:
    return Unavailable(f"No service answers at {client.base_url} ({cause}). Start `emoseek serve`.")


@contextlib.contextmanager
def service_or_none(settings: Settings, url: str | None) -> Iterator[httpx.Client | None]:
    """A client of the service at `url`, or at the settings' host and port; without `url`, None
    where none answers there.

    Raises:
        Unavailable: no service answers at `url`.
    """
    with connect(settings, url) as client:
        try:
            client.get("/healthz")
        except httpx.TransportError as exc:
            if url is not None:
                raise unreachable(client, exc) from exc
            yield None
        else:
            yield client


def own_data_dir(settings: Settings) -> Ownership:
    """The data directory, where no service runs.

    Raises:
        DataDirInUse: a service at another address owns it.
    """
    try:
        return Ownership(settings.data_dir)
    except DataDirInUse as exc:
        raise DataDirInUse(f"{exc.detail} Or name the service that runs there with --url.") from exc


def ask(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer, success or not, once it is neither `busy` nor `starting`.

    Raises:
        Unavailable: there is none.
    """
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            answer = client.request(method, path, **request)
        except httpx.TransportError as exc:
            raise unreachable(client, exc) from exc
        if answer.status_code not in (429, 503) or time.monotonic() > give_up:
            return answer
        time.sleep(random.uniform(0.1, 1.0))  # noqa: S311  # not all at once
