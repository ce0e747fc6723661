"""The ASGI app: routes over one Library, which opens in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable

import anyio.to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import __version__, garbage
from app.errors import EmoseekError
from app.http import (
    classifiers,
    clips,
    clusters,
    duplicates,
    frames,
    imports,
    index_check,
    openapi,
    operations,
    people,
    problems,
    recognise,
    reindex,
    reports,
    schedules,
    search,
)
from app.http.guard import ApiKey, BodyLimit, ProblemsOnly
from app.http.similar import Similar, SimilarAgain
from app.http.tally import Tally
from app.library import Library
from app.settings import Settings
from app.ui import page

log = logging.getLogger(__name__)


def create_app(
    settings: Settings, open_library: Callable[[], Library], on_failure: Callable[[str], None]
) -> FastAPI:
    """The service over one library.

    Args:
        open_library: called once, in a thread; until it returns, every route but /healthz
            answers 503.
        on_failure: called once, with a sentence, when the library cannot be opened.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Waiting in the queue holds a thread; other routes must still find one.
        anyio.to_thread.current_default_thread_limiter().total_tokens = (
            settings.max_concurrency + settings.queue_length + 40
        )
        opening = asyncio.create_task(_open(app, open_library, on_failure))
        try:
            yield
        finally:
            if not opening.done():
                # Loading or downloading a model cannot be interrupted, and nothing was
                # acknowledged yet: to end here is as safe as any crash.
                log.info("Stopped before it was ready.")
                logging.shutdown()
                os._exit(0)
            if app.state.library is not None:
                await asyncio.to_thread(app.state.library.close)

    # The documentation page's scripts come from this service: closed networks have no CDN.
    app = FastAPIOffline(
        redoc_url=None,
        redirect_slashes=False,
        title="Emoseek",
        version=__version__,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
    )
    app.state.library = None
    app.state.started = time.monotonic()
    app.state.tally = Tally()
    app.state.similar = Similar()
    for module in (
        *(recognise, clips, frames, duplicates, search, clusters, classifiers),
        *(reports, schedules, people),
        *(imports, reindex, index_check, operations),
    ):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app)
    page.install(app)
    app.add_middleware(SimilarAgain)
    app.add_middleware(ProblemsOnly)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    if settings.api_key is not None:
        app.add_middleware(ApiKey, key=settings.api_key, is_open=page.is_open)
    return app


async def _open(
    app: FastAPI, open_library: Callable[[], Library], on_failure: Callable[[str], None]
) -> None:
    try:
        library = await asyncio.to_thread(open_library)
        garbage.set_aside()
        app.state.library = library
    except EmoseekError as exc:
        if exc.__cause__ is not None:
            log.error("%s", exc.__cause__)
        on_failure(exc.detail)
    except Exception:
        log.exception("The service could not start.")
        on_failure("An error that should not happen; the lines above have it.")
    else:
        log.info("Ready.")
