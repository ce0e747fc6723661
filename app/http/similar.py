"""`GET similar` at speed: many requests at once share one search and one query of the database,
and a query string that was read before is not read again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from fastapi.concurrency import run_in_threadpool
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import EmoseekError
from app.http.parameters import MAX_ID
from app.http.problems import refuse
from app.library import Library
from app.library.search import Found, Wanted, similar

AT_ONCE = 16  # requests that are answered together
REMEMBERED = 1024  # query strings
LONGEST = 500  # bytes of one that is remembered
PATH = re.compile(r"/api/v1/clips/([0-9]{1,19})/similar", re.ASCII)


class Similar:
    """Answers requests for the neighbours of stored clips, on the event loop.

    Those that come while a search is under way, and want the same of other clips, go together
    into the next one.
    """

    def __init__(self) -> None:
        self._waiting: dict[Wanted, list[tuple[int, asyncio.Future[Found]]]] = {}
        self._searching: set[asyncio.Task[None]] = set()  # or else they may be collected
        self._read: dict[bytes, Wanted] = {}

    def remember(self, request: Request, wanted: Wanted) -> None:
        """What the request's query string asks for."""
        text: bytes = request.scope["query_string"]
        if len(text) <= LONGEST:
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            self._read[text] = wanted

    def recall(self, scope: Scope) -> Wanted | None:
        return self._read.get(scope["query_string"])

    async def answer(self, library: Library, clip_id: int, wanted: Wanted) -> Response:
        """
        Raises:
            NotFound: there is no such clip.
            NotIndexed: it has no embedding of the active model.
        """
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        if wanted in self._waiting:
            self._waiting[wanted].append((clip_id, future))
        else:
            self._waiting[wanted] = [(clip_id, future)]
            task = asyncio.create_task(self._search(library, wanted))
            self._searching.add(task)
            task.add_done_callback(self._searching.discard)
        return json_response(search_answer(await future, clip_id))

    async def _search(self, library: Library, wanted: Wanted) -> None:
        """Answer all who want this, until nobody does."""
        try:
            while waiting := self._waiting[wanted]:
                some, self._waiting[wanted] = waiting[:AT_ONCE], waiting[AT_ONCE:]
                clip_ids = [clip_id for clip_id, _ in some]
                found = await run_in_threadpool(_each, library, clip_ids, wanted)
                for (_, future), one in zip(some, found, strict=True):
                    if future.done():  # its client has gone
                        continue
                    if isinstance(one, Exception):
                        future.set_exception(one)
                    else:
                        future.set_result(one)
        finally:
            for _, future in self._waiting.pop(wanted):
                future.cancel()


def _each(library: Library, clip_ids: list[int], wanted: Wanted) -> Sequence[Found | Exception]:
    try:
        return similar(library, clip_ids, wanted)
    except EmoseekError as exc:
        return [exc] * len(clip_ids)
    except Exception as exc:
        if len(clip_ids) == 1:
            return [exc]
        # What is wrong with one is not to be the others' error.
        return [one for clip_id in clip_ids for one in _each(library, [clip_id], wanted)]


class SimilarAgain:
    """Answers `GET similar` with a query string that the route has read before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope) if scope["type"] == "http" else None
        await (response or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response | None:
        path = PATH.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        state = scope["app"].state
        if path is None or state.library is None or not 1 <= int(path[1]) <= MAX_ID:
            return None
        wanted = state.similar.recall(scope)
        if wanted is None:
            return None
        try:
            answer: Response = await state.similar.answer(state.library, int(path[1]), wanted)
        except EmoseekError as exc:
            return refuse(scope, exc)
        return answer


def search_answer(found: Found, clip_id: int | None = None) -> dict[str, Any]:
    """A SearchAnswer as JSON takes it: models of it would take as long as the search."""
    return {
        "clip_id": clip_id,
        "model": found.model,
        "index": {"state": found.state, "build": found.build, "pending": found.pending},
        "neighbours": [
            {
                "clip_id": clip.id,
                "similarity": similarity,
                "emotion": clip.emotion,
                "confidence": clip.confidence,
                "customer_id": clip.customer_id,
                "call_id": clip.call_id,
                "agent_id": clip.agent_id,
                "recorded_at": clip.recorded_at,
                "duration": clip.duration,
                "tags": clip.tags,
            }
            for clip, similarity in found.neighbours
        ],
    }


def json_response(answer: dict[str, Any] | list[dict[str, Any]]) -> Response:
    return Response(to_json(answer), media_type="application/json")
