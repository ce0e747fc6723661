"""A store of made-up clips, and runs over them as a process does them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import threading
from collections.abc import Callable, Iterator

import numpy as np
from sqlalchemy import text

from app.domain import LABELS, ClipFields, ModelInfo, Recognition
from app.library.clusterings import Clusterings, Wanted
from app.library.grouping_run import GroupingRun
from app.store import Store, clips, models
from app.store.cluster_runs import Run
from tests.analysis.voices import DIMENSION, voices
from tests.store.test_store import NOW, new_clip

MODEL = ModelInfo("test/voices", "f" * 64, DIMENSION, bundled=False)


class Rig:
    def __init__(self, store: Store) -> None:
        self.store = store
        with store.write() as session:
            self.model_row = models.activate(session, MODEL, np.ones(DIMENSION, np.float32))
        self.open()

    def open(self) -> None:
        """As the next process does."""
        self.runs = Clusterings(self.store)

    def add(self, count: int, seed: int = 0, **changes: object) -> list[int]:
        """Store made-up clips of some weeks, customers and agents; returns their ids."""
        made = voices(count, seed)
        ids = []
        with self.store.write() as session:
            for row in range(count):
                fields = ClipFields(
                    customer_id=f"customer {made.facts.customers[row]}",
                    agent_id=f"agent {made.emotions[row]}",
                    recorded_at=NOW - dt.timedelta(days=row % 70),
                )
                heard = Recognition(made.facts.scores[row], made.vectors[row])
                new = new_clip(self.model_row, recognition=heard, fields=fields)
                ids.append(clips.add(session, dataclasses.replace(new, **changes)))
        return ids

    def forget(self, clip_ids: list[int]) -> None:
        with self.store.write() as session:
            clips.remove(session, clip_ids)

    def begin(self, **wanted: object) -> Run:
        return self.runs.begin(
            Wanted(**{"algorithm": "kmeans", **wanted}),  # type: ignore[arg-type]
            self.model_row,
        )

    def done(self, **wanted: object) -> Run:
        """A run from beginning to end."""
        run = self.begin(**wanted)
        self.runs.work()
        found = self.runs.get(run.id)
        assert found.state == "done", found.message
        return found

    def members(self, run_id: int, cluster: int, limit: int = 1000) -> list[int]:
        found: list[int] = []
        after: int | None = 0
        while after is not None:
            ids, after = self.runs.members(run_id, cluster, after, limit)
            found += ids.tolist()
        return found

    def rows(self) -> dict[str, int]:
        tables = ("cluster_runs", "clusters", "cluster_members", "cluster_points")
        with self.store.read() as session:
            return {
                table: session.scalar(text(f"SELECT count(*) FROM {table}")) or 0
                for table in tables
            }

    @contextlib.contextmanager
    def held(self, monkeypatch: object, method: str) -> Iterator[Callable[[], None]]:
        """Within, a thread works on what is queued and waits in a method of its run, until what is
        given is called; at the end it has returned."""
        arrived, go_on = threading.Event(), threading.Event()
        original = getattr(GroupingRun, method)

        def wait(run: GroupingRun, *of: object) -> object:
            arrived.set()
            assert go_on.wait(60)
            return original(run, *of)

        monkeypatch.setattr(GroupingRun, method, wait)  # type: ignore[attr-defined]
        thread = threading.Thread(target=self.runs.work)
        thread.start()
        try:
            assert arrived.wait(60)
            yield go_on.set
        finally:
            go_on.set()
            thread.join()
            monkeypatch.setattr(GroupingRun, method, original)  # type: ignore[attr-defined]


def emotion_of(cluster: object) -> str:
    told = getattr(cluster, "profile")["dominant_emotion"]  # noqa: B009
    assert told in LABELS
    return str(told)
