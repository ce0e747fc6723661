"""`emoseek serve` over a database that holds the vectors."""

from __future__ import annotations

import atexit
import datetime as dt
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from app.domain import LABELS, SAMPLE_RATE
from app.store import Store, models
from app.store.clips import ADD_CLIP, ADD_EMBEDDING, TAGS
from app.store.tables import SCORE_COLUMNS, ModelRow
from index.contract import Vectors
from index.mean import RunningMean, shrunk_mean
from scripts.bench_service import Running
from scripts.index_benchmark.attributes import PERCENT, Attributes, name
from scripts.index_benchmark.dataset import BLOCK, Dataset

ROWS_AT_ONCE = 2_000
FILLING, FILLED = "filling", "filled"  # files that say how far an earlier run came
SETTLED_POLLS = 3  # a second apart: the upkeep of an index begins a second after the start
MODEL_SIZES = {192: "bundled", 768: "base", 1024: "large"}


def model_for(data: Dataset) -> str:
    """A model whose embeddings are as long as the vectors: random weights, kept beside them."""
    size = MODEL_SIZES[data.base.shape[1]]
    directory = data.directory / f"model-{size}"
    if size == "bundled":
        return size
    if not (directory / "configuration.json").exists():  # written last
        from scripts.random_model import write

        noise = np.random.default_rng(0).standard_normal((4, SAMPLE_RATE)).astype(np.float32)
        write(directory, size, clips=list(noise * 0.05))
    return str(directory.resolve())


class Service:
    """A running service whose clip i + 1 has the embedding `base[i]`, and its files.

    `filled`, `rebuilt` and `started` are seconds: to write the database (None: an earlier run
    did), from a start without a snapshot to an index in its final form, and from a start with a
    snapshot to ready, both with the loading of the model.
    """

    def __init__(self, data: Dataset, directory: Path, model: str | None = None) -> None:
        """Uses what an earlier run filled in `directory`.

        Raises:
            SystemExit: something else is in `directory`.
        """
        model = model or model_for(data)
        self._database = directory / "data" / "emoseek.db"
        self.filled = self._make(directory, model, data.base)
        if (directory / "data" / "index").exists():  # not where an earlier run was interrupted here
            shutil.rmtree(directory / "data" / "index")
        first = self._run(directory, model)
        self.rebuilt = first.ready + self._settle(first, len(data.base))
        first.stop()
        self.running = self._run(directory, model)
        self.started = self.running.ready
        self._settle(self.running, len(data.base))

    def _make(self, directory: Path, model: str, base: Vectors) -> float | None:
        """Seconds that filling a new database took; None where one was filled before."""
        if (directory / FILLED).exists():
            return None
        if (directory / FILLING).exists():  # an earlier run was interrupted
            shutil.rmtree(directory)
        elif directory.exists():
            raise SystemExit(f"{directory} is there and not of this program; name another")
        directory.mkdir(parents=True)
        (directory / FILLING).touch()
        self._run(directory, model).stop()  # makes the database and registers the model
        begun = time.perf_counter()
        fill(self._database, base)
        (directory / FILLED).touch()
        return time.perf_counter() - begun

    @staticmethod
    def _run(directory: Path, model: str) -> Running:
        running = Running(directory, model)
        atexit.register(running.process.kill)  # where a failure keeps `stop` from being called
        return running

    @property
    def port(self) -> int:
        port = self.running.client.base_url.port
        assert port is not None
        return port

    @property
    def kind(self) -> str:
        """What the service says of its index."""
        told = self._index(self.running)
        return f"{told['backend']} {told['kind']}"

    def mean(self, base: Vectors) -> Vectors:
        """(D,) what a build over `base` removes."""
        library = RunningMean(base.shape[1])
        for start in range(0, len(base), BLOCK):
            library.add(np.asarray(base[start : start + BLOCK]))
        store = Store(f"sqlite:///{self._database}")
        with store.read() as session:
            model = models.active(session)
            assert model is not None
            prior = models.prior_mean(session, model.digest)
        store.close()
        return shrunk_mean(library.mean(), library.count, prior)

    def stop(self) -> None:
        self.running.stop()

    def _index(self, running: Running) -> dict[str, Any]:
        index: dict[str, Any] = running.client.get("/api/v1/status").json()["index"]
        return index

    def _settle(self, running: Running, size: int) -> float:
        """Wait until the index holds everything in the form that it goes on in; seconds to that."""
        begun = settled = time.perf_counter()
        polls = 0
        while polls < SETTLED_POLLS:
            index = self._index(running)
            polls = polls + 1 if (index["state"], index["size"]) == ("ready", size) else 0
            if polls <= 1:
                settled = time.perf_counter()
            time.sleep(1)
        return settled - begun


def fill(database: Path, base: Vectors) -> None:
    """Store each row of `base` as a clip of the active model, its id the row + 1.

    Stands in for `emoseek import-vectors`.
    """
    said = Attributes.of(base)
    confidence = said.confidences()
    customers = np.full(len(base), "others", object)
    tags: list[list[str]] = [[] for _ in base]
    for percent in PERCENT:
        if percent < 90:
            customers[said.rows("customer_id", percent)] = name(percent)
        for row in said.rows("tag", percent):
            tags[row].append(name(percent))
    store = Store(f"sqlite:///{database}")
    with store.read() as session:
        model_row = session.scalars(select(ModelRow.id).where(ModelRow.active)).one()
    for start in range(0, len(base), ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, len(base)))
        vectors = np.asarray(base[rows.start : rows.stop]).astype("<f4")
        with store.write() as session:
            connection = session.connection()
            connection.execute(
                ADD_CLIP, [_clip(row, model_row, confidence[row], customers[row]) for row in rows]
            )
            connection.execute(
                ADD_EMBEDDING,
                [
                    {"model_id": model_row, "clip_id": row + 1, "vector": vector.tobytes()}
                    for row, vector in zip(rows, vectors, strict=True)
                ],
            )
            if tagged := [{"clip_id": row + 1, "tag": tag} for row in rows for tag in tags[row]]:
                connection.execute(insert(TAGS), tagged)
    store.close()


def _clip(row: int, model_row: int, confidence: float, customer: str) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    scores = dict.fromkeys(SCORE_COLUMNS, (1 - float(confidence)) / (len(LABELS) - 1))
    label = LABELS[row % len(LABELS)]
    return {
        "id": row + 1,
        "model_id": model_row,
        "stored_at": now,
        "recorded_at": None,
        "at": now,
        "duration": 3.0,
        "channel": "mix",
        "container": "wav",
        "codec": "pcm_s16le",
        "sample_rate": SAMPLE_RATE,
        "channels": 1,
        "file_sha256": f"{row:064x}",
        "audio_sha256": f"{row:064x}",
        "customer_id": customer,
        "call_id": None,
        "agent_id": None,
        "metadata": {},
        "indexable": True,
        "emotion": label,
        "confidence": float(confidence),
        "audio_key": None,
        "result_dir": None,
        "warnings": [],
        **scores,
        f"score_{label}": float(confidence),
    }


def rows_of(body: bytes) -> list[int]:
    """Rows of the base that an answer to `similar` names."""
    return [near["clip_id"] - 1 for near in json.loads(body)["neighbours"]]
