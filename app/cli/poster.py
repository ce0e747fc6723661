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

    A full queue is waited for however long it takes. A service that gives no answer, or says
    that it is not available, for a minute ends the whole run, not each file by itself.

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
        form = {field: value for field, value in fields.items() if value}
        form["metadata"] = json.dumps(metadata, ensure_ascii=False)
        # The same request repeated after a lost answer must not store twice.
        key = hashlib.sha256(json.dumps([digest, form], sort_keys=True).encode()).hexdigest()
        while True:
            answer = self._ask(
                "POST",
                "/api/v1/emotion/recognize",
                data=form,
                files={"audio_file": ("recording", content)},
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
        wanted = fields | {"metadata": clip["metadata"] | metadata}
        if all(_comparable(name, clip[name]) == _comparable(name, wanted[name]) for name in wanted):
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
        failures = 0
        while not self.stopping.is_set():
            try:
                answer = self._client.request(method, path, **request)
                reason = f"the service answers {answer.status_code}: {answer.text[:300]}"
                if answer.status_code != 503:
                    self._answered = time.monotonic()
                    if answer.status_code != 429:
                        return answer
            except httpx.TransportError as exc:
                reason = f"the service has stopped answering ({exc})"
            failures += 1
            if failures >= 3 and time.monotonic() - self._answered > GIVE_UP_SECONDS:
                self.stopping.set()
                raise Unavailable(f"{reason}. Run the same command again later.")
            self.stopping.wait(random.uniform(0.1, 1.0))  # noqa: S311  # not all at once
        return None


def _comparable(name: str, value: Any) -> Any:
    """A field's value in a form that is equal whenever it means the same."""
    if name == "tags":
        return set(value)
    if name == "recorded_at" and value:
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            return value  # the service will say what is wrong with it
    return value
