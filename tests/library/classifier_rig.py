"""Labelled clips for classifiers, in a library of this process."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from app.domain import ClipFields, ClipFilter
from app.library import Library
from app.library.imports import add_rows, begin
from app.recogniser import Flow
from app.store import classifier_scores, embeddings
from app.store.classifier_applies import Apply
from app.store.classifiers import Classifier
from app.store.imports import ImportedClip

LABELS = ("calm", "cross")
CUSTOMERS = 6
SECONDS = 60  # until whatever is waited for must have happened


def vectors(library: Library, count: int, seed: int = 0) -> NDArray[np.float32]:
    """(count, D); those with odd places are cross."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((count, library.index.dimension)).astype(np.float32)
    found[1::2, :64] += 2
    return found


def import_clips(library: Library, count: int, seed: int = 0) -> list[int]:
    """Ids of clips with these vectors, of CUSTOMERS customers."""
    given = vectors(library, count, seed)
    key = hashlib.sha256(f"{count} {seed}".encode()).hexdigest()
    rows = [ImportedClip(ClipFields(customer_id=f"c{i // 2 % CUSTOMERS}")) for i in range(count)]
    begin(library, key, None, rows=count, dimension=given.shape[1], highest_id=None)
    before = set(library.filters.ids(ClipFilter()).tolist())
    add_rows(library, key, None, 0, given, rows, None)
    return [i for i in library.filters.ids(ClipFilter()).tolist() if i not in before]


def labels(clip_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Of clips as `import_clips` gives them."""
    return [(clip_id, LABELS[place % 2]) for place, clip_id in enumerate(clip_ids)]


def train(library: Library, clip_ids: Sequence[int], name: str = "mood") -> Classifier:
    return library.classifiers.train(name, labels(clip_ids), ClipFilter(), Flow())


def applied(library: Library, classifier_id: int, state: str = "done") -> Apply:
    """The apply once it is in that state."""
    wait_for(lambda: library.classifier_upkeep.applied(classifier_id).state == state)
    return library.classifier_upkeep.applied(classifier_id)


def count(library: Library, table: str) -> int:
    with library.store.read() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def idle(library: Library) -> None:
    """Wait until the upkeep has done what was to be done."""
    due = library.classifier_upkeep._due
    for _ in range(2):  # when it has begun the second time, it has ended the first
        due.set()
        wait_for(lambda: not due.is_set())


def check(library: Library, classifier_id: int, clip_ids: Sequence[int]) -> None:
    """Exactly these clips have scores by the active model's fit, those that its parameters give
    for their embeddings by that model."""
    space = library.spaces.active
    [live] = [one for one in library.classifiers.live(space.model_row) if one.id == classifier_id]
    with library.store.read() as session:
        stored = embeddings.get(session, space.model_row, list(clip_ids))
        found = {
            number: classifier_scores.ranked(
                session, live.fit_id, [number], ClipFilter(), 10_000, top_only=False
            )
            for number in range(len(live.classifier.classes))
        }
    expected = live.classifier.probabilities(np.stack([stored[i] for i in clip_ids]))
    for number, ranked in found.items():
        told = {one.clip_id: one.probability for one in ranked}
        assert set(told) == set(clip_ids)
        for clip_id, probability in zip(clip_ids, expected[:, number], strict=True):
            assert abs(told[clip_id] - probability) < 1e-9
    for clip_id, probabilities in zip(clip_ids, expected, strict=True):
        said = library.classifiers.of_clip(clip_id)[live.name]
        assert said["label"] == live.classifier.classes[int(probabilities.argmax())]


class Held:
    """In the place of `classifier_scores.unscored`: an apply that has read its second block waits
    until it is released."""

    def __init__(self) -> None:
        self.arrived, self._go_on = threading.Event(), threading.Event()
        self._unscored, self._blocks = classifier_scores.unscored, 0

    def __call__(self, *of: Any) -> Any:
        found = self._unscored(*of)
        self._blocks += 1
        if self._blocks == 2:
            self.arrived.set()
            assert self._go_on.wait(SECONDS)
        return found

    def release(self) -> None:
        self._go_on.set()
