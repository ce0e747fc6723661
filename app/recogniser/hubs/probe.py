"""Whether a hub can be asked for a model, without waiting long for a network that is cut."""

from __future__ import annotations

import threading

import httpx

from app.recogniser.hubs.contract import CannotDownload, Hub

PROBE_SECONDS = 3.0  # name resolution included


def refusal(hub: Hub, model_id: str, revision: str | None) -> str | None:
    """Why the hub would not give the model, as far as it tells within PROBE_SECONDS, or None."""
    try:
        url = hub.probe_url(model_id, revision or hub.default_revision)
    except CannotDownload as exc:
        return str(exc)
    told: list[str | None] = []
    finished = threading.Event()

    def ask() -> None:
        told.append(_refusal(hub, url))
        finished.set()

    # httpx's time-outs do not cover a resolver that never answers; a thread left behind does
    # no harm.
    threading.Thread(target=ask, name="hub-probe", daemon=True).start()
    finished.wait(PROBE_SECONDS)
    return told[0] if told else f"{hub.title} does not answer"


def _refusal(hub: Hub, url: str) -> str | None:
    try:
        answer = httpx.get(url, timeout=PROBE_SECONDS, follow_redirects=True)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return f"{hub.title} has no such model or revision"
        if not answer.is_success:
            return f"{hub.title} answers with status {answer.status_code}"
        if answer.json():  # a page that wants a login is no JSON
            return None
    except (httpx.HTTPError, httpx.InvalidURL):
        return f"{hub.title} does not answer"
    except ValueError:
        pass
    return f"{hub.title}'s answer was not understood"
