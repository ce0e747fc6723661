"""Does a service lose or refuse anything while its clips are embedded anew by another model?

    python scripts/soak_reindex.py CLIPS [--second-model DIR] [--clients 2]

Starts `emoseek serve` with the bundled model on a data directory of its own, posts every recording
in CLIPS, and re-embeds all of them with a second model (unless one is given, a random one with
embeddings of another size) while clients post, search and delete. Then rolls back, forth, and
counts: requests that failed, clips that are not found, and scores that are not as they were.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from app.recogniser.load import reference_clips
from scripts.bench_service import Running
from scripts.random_model import write

AUDIO = {".wav", ".flac", ".ogg", ".mp3", ".m4a"}
REINDEX = "/api/v1/admin/reindex"
SECOND = "second"  # name of its directory in DATA_DIR/models


class Traffic:
    """Clients that post, search and delete until the block ends. Each deletes only what it posted
    itself, so that the clips of before stay."""

    def __init__(self, client: httpx.Client, files: list[Path], known: list[int], clients: int):
        self.answers = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.kept: list[int] = []
        self.deleted: list[int] = []
        self.models: list[list[str]] = []  # as each client's searches tell them, one by one
        self._client = client
        self._files = files
        self._known = known
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self) -> None:
        told: list[str] = []
        self.models.append(told)
        clips = zip(itertools.cycle(self._files), itertools.cycle(self._known), strict=False)
        for turn, (path, known) in enumerate(clips):
            if self._stop.is_set():
                return
            posted = self._asked(post, self._client, path)
            found = self._asked(self._client.get, f"/api/v1/clips/{known}/similar")
            if found is not None:
                told.append(found.json()["model"])
            if posted is None:
                continue
            clip_id = posted.json()["clip_id"]
            if turn % 3 == 2:
                self._asked(self._client.delete, f"/api/v1/clips/{clip_id}")
                self.deleted.append(clip_id)
            else:
                self.kept.append(clip_id)

    def _asked(self, ask: Callable[..., httpx.Response], *of: Any) -> httpx.Response | None:
        self.answers += 1
        try:
            answer = ask(*of)
        except httpx.HTTPError as exc:
            self.failures[type(exc).__name__] += 1
            return None
        if answer.is_success:
            return answer
        self.failures[f"{answer.status_code} {answer.text[:200]}"] += 1
        return None


def post(client: httpx.Client, path: Path) -> httpx.Response:
    with path.open("rb") as file:
        return client.post("/api/v1/emotion/recognize", files={"audio_file": (path.name, file)})


def stored(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """All clips, newest first."""
    cursor = None
    while True:
        page = client.get(
            "/api/v1/clips", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})
        )
        page.raise_for_status()
        yield from page.json()["clips"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return


def heard(client: httpx.Client) -> dict[int, Any]:
    """What is told of each clip's emotion."""
    return {
        clip["clip_id"]: (clip["emotion"], clip["confidence"], clip["scores"])
        for clip in stored(client)
    }


def lost(client: httpx.Client, wanted: list[int], gone: list[int]) -> int:
    """Clips that a search for all does not find, or finds although they were deleted."""
    anchor = wanted[0]
    answer = client.get(f"/api/v1/clips/{anchor}/similar", params={"k": 1000, "exact": True})
    answer.raise_for_status()
    found = {one["clip_id"] for one in answer.json()["neighbours"]} | {anchor}
    missing = set(wanted) - found if len(found) < 1000 else not_indexed(client, wanted)
    return len(missing) + len(found & set(gone))


def not_indexed(client: httpx.Client, wanted: list[int]) -> set[int]:
    indexed = {clip["clip_id"] for clip in stored(client) if clip["indexed"]}
    return set(wanted) - indexed


def reindexed(client: httpx.Client) -> dict[str, Any]:
    """The summary of a re-embedding with the second model."""
    client.post(REINDEX, json={"model": SECOND}).raise_for_status()
    while True:
        told: dict[str, Any] = client.get(REINDEX).json()
        if told["finished"] is not None:
            if told["state"] != "done":
                raise SystemExit(f"the reindex {told['state']}: {told['message']}")
            summary: dict[str, Any] = told["summary"]
            return summary
        time.sleep(0.2)


def soak(service: Running, files: list[Path], clients: int) -> None:
    client = service.client
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        known = [answer.json()["clip_id"] for answer in pool.map(lambda p: post(client, p), files)]
    before = heard(client)
    with Traffic(client, files, known, clients) as traffic:
        summary = reindexed(client)
        time.sleep(2)
    wanted = [*known, *traffic.kept]
    print(f"{len(known)} clips, {summary}")
    print(f"{traffic.answers} requests meanwhile, failed: {dict(traffic.failures) or 'none'}")
    switches = [sum(a != b for a, b in itertools.pairwise(told)) for told in traffic.models]
    print(f"the model that searches told changed {switches} times, for each client")
    print(f"lost or not forgotten after it: {lost(client, wanted, traffic.deleted)}")
    after = heard(client)
    for name, as_it_was in (("back", before), ("forth", after)):
        started = time.perf_counter()
        client.post(f"{REINDEX}/rollback").raise_for_status()
        seconds = time.perf_counter() - started
        now = heard(client)
        other = sum(now.get(clip_id) != as_it_was[clip_id] for clip_id in known)
        print(
            f"{name} in {seconds * 1000:.0f} ms; lost or not forgotten: "
            f"{lost(client, wanted, traffic.deleted)}; with other scores than before: {other}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="a directory of recordings")
    parser.add_argument("--second-model", type=Path, help="a directory in FunASR's format")
    parser.add_argument("--clients", type=int, default=2)
    options = parser.parse_args()
    files = sorted(path for path in options.clips.rglob("*") if path.suffix.lower() in AUDIO)
    with tempfile.TemporaryDirectory() as name:
        second = Path(name) / "data" / "models" / SECOND
        second.parent.mkdir(parents=True)
        if options.second_model is None:
            write(second, "small", clips=reference_clips(), seed=7)
        else:
            second.symlink_to(options.second_model.resolve())
        service = Running(Path(name), "bundled")
        try:
            soak(service, files, options.clients)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
