"""Whether a hub can be asked for a model, without waiting long for a network that is cut."""

from __future__ import annotations

import contextlib
import threading

import httpx

from app.recogniser.hubs.contract import Hub

PROBE_SECONDS = 3.0  # name resolution included


def answers(hub: Hub, model_id: str, revision: str | None) -> bool:
    """Whether the hub speaks of the model within PROBE_SECONDS."""
    url = hub.probe_url(model_id, revision or hub.default_revision)
    answered = threading.Event()
    finished = threading.Event()

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):
            answer = httpx.get(url, timeout=PROBE_SECONDS, follow_redirects=True)
            if answer.is_success and answer.json():  # a page that wants a login is no JSON
                answered.set()
        finished.set()

    # httpx's time-outs do not cover a resolver that never answers; a thread left behind does
    # no harm.
    threading.Thread(target=ask, name="hub-probe", daemon=True).start()
    finished.wait(PROBE_SECONDS)
    return answered.is_set()
