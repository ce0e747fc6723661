"""Posts files to a service, each once, however often it is asked to."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import threading
import time
from pathlib import Path
from typing import Any, Literal

import httpx

from app.cli.client import checked
from app.errors import Unavailable

PATH_KEY = "source_path"  # metadata key that, with the file's hash, tells a file stored before
GIVE_UP_SECONDS = 60.0  # without any answer to any request

Outcome = Literal["stored", "already stored", "updated", "stored with other fields", "not tried"]


class Poster:
    """Posts files from many threads until `stopping` is set.

    A full queue is waited for however long it takes. A service that gives no answer for a
    minute ends the whole run, not each file by itself.

    Args:
        update: change the fields of clips that are stored with other ones.
    """

    def __init__(self, client: httpx.Client, *, update: bool) -> None:
        self._client = client
        self._update = update
        self.stopping = threading.Event()
        self._answered = time.monotonic()

    def post(self, path: Path, name: str, fields: dict[str, Any]) -> Outcome:
        """Post one file with its form fields, unless it is stored under this name already.

        Raises:
            Refused: the service refused the file or a field.
            Unavailable: the service gave no answer for too long.
            OSError: the file cannot be read.
        """
        if self.stopping.is_set():
            return "not tried"
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        metadata = fields.get("metadata", {}) | {PATH_KEY: name}
        there = {"file_sha256": digest, f"meta.{PATH_KEY}": name, "limit": 1}
        found = self._ask("GET", "/api/v1/clips", params=there)
        if found is None:
            return "not tried"
        if clips := checked(found).json()["clips"]:
            return self._compare(clips[0], fields, metadata) if fields else "already stored"
        form = fields | {"metadata": json.dumps(metadata, ensure_ascii=False)}
        # The same request repeated after a lost answer must not store twice.
        key = hashlib.sha256(json.dumps([digest, form], sort_keys=True).encode()).hexdigest()
        while True:
            answer = self._ask(
                "POST",
                "/api/v1/emotion/recognize",
                data=form,
                files={"audio_file": (path.name, content)},
                headers={"Idempotency-Key": key},
            )
            if answer is None:
                return "not tried"
            if answer.status_code != 410:
                checked(answer)
                return "stored"
            # Its clip was deleted today: store it anew.
            key = hashlib.sha256(f"{key}{time.time_ns()}".encode()).hexdigest()

    def _compare(
        self, clip: dict[str, Any], fields: dict[str, Any], metadata: dict[str, Any]
    ) -> Outcome:
        wanted = {
            "customer_id": fields.get("customer_id"),
            "call_id": fields.get("call_id"),
            "agent_id": fields.get("agent_id"),
            "recorded_at": fields.get("recorded_at"),
            "tags": sorted(set(fields.get("tags", ()))),
            "metadata": metadata,
        }
        stored = {name: clip[name] for name in wanted}
        if _comparable(stored) == _comparable(wanted):
            return "already stored"
        if not self._update:
            return "stored with other fields"
        changed = self._ask("PATCH", f"/api/v1/clips/{clip['clip_id']}", json=wanted)
        if changed is None:
            return "not tried"
        checked(changed)
        return "updated"

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """The answer, once it is neither `busy` nor `starting`; None when stopped meanwhile."""
        while not self.stopping.is_set():
            try:
                answer = self._client.request(method, path, **request)
            except httpx.TransportError as exc:
                if time.monotonic() - self._answered > GIVE_UP_SECONDS:
                    self.stopping.set()
                    raise Unavailable(
                        "the service has stopped answering. Run the same command again later."
                    ) from exc
                self.stopping.wait(1.0)
                continue
            self._answered = time.monotonic()
            if answer.status_code not in (429, 503):
                return answer
            self.stopping.wait(random.uniform(0.1, 1.0))  # noqa: S311  # not all at once
        return None


def _comparable(fields: dict[str, Any]) -> dict[str, Any]:
    text = fields["recorded_at"]
    return fields | {"recorded_at": dt.datetime.fromisoformat(text) if text else None}
