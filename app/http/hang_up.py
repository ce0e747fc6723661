"""Clients that do not wait for their answer free their place."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.errors import ClientGone
from app.recogniser import Flow

T = TypeVar("T")


async def while_connected(request: Request, flow: Flow, work: Callable[[], T]) -> T:
    """Runs blocking `work` in a thread, and cancels its flow when the client hangs up.

    The request's body must have been read.

    Raises:
        ClientGone: `work` was given up.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        flow.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await run_in_threadpool(work)
    except concurrent.futures.CancelledError as exc:
        raise ClientGone("The client hung up before its answer.") from exc
    except BaseException:
        flow.cancel()  # a stop that waits no longer, or a refusal that leaves others waiting
        raise
    finally:
        watching.cancel()
