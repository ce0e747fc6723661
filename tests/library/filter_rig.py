"""Stores, clips and filters to compare memory with SQL over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from sqlalchemy import update

from app.domain import LABELS, ClipFields, ClipFilter, ModelInfo, Recognition
from app.library.filter_columns import FilterColumns
from app.store import Store, clips, models, summaries
from app.store.tables import ClipRow
from tests.store.test_store import new_clip

MODEL = ModelInfo("test/model", "d" * 64, 4, bundled=False)
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
INSTANTS = (
    NOON,
    NOON + dt.timedelta(microseconds=1),
    NOON.astimezone(dt.timezone(dt.timedelta(hours=5))),
    NOON - dt.timedelta(days=20_000, microseconds=1),
    dt.datetime(1, 1, 2, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC),
)
CONFIDENCES = tuple(float(np.float32(value)) for value in (0.3, 0.5, 0.7))
TEXTS = st.sampled_from(["a", "A", "ä", "\U0001f600", "long" * 50])
METADATA = {"x": st.sampled_from(["1", 1, 1.0, True, None, {"b": 1, "a": [2]}]), "é": TEXTS}
FILES = st.sampled_from(["a" * 64, "b" * 64])

FIELDS = st.builds(
    ClipFields,
    customer_id=st.none() | TEXTS,
    call_id=st.none() | TEXTS,
    agent_id=st.none() | TEXTS,
    recorded_at=st.none() | st.sampled_from(INSTANTS),
    tags=st.lists(TEXTS, unique=True).map(tuple),
    metadata=st.fixed_dictionaries({}, optional=METADATA),
)
CONDITIONS = {
    "emotions": st.lists(st.sampled_from(LABELS), unique=True).map(tuple),
    "min_confidence": st.sampled_from([*CONFIDENCES, float(np.nextafter(CONFIDENCES[0], 1)), 0.3]),
    "customer_id": TEXTS,
    "call_id": TEXTS,
    "agent_id": TEXTS,
    "tags": st.lists(TEXTS, max_size=2).map(tuple),
    "since": st.sampled_from(INSTANTS),
    "until": st.sampled_from(INSTANTS),
    "metadata": st.tuples(
        st.tuples(st.just("x"), st.sampled_from(["1", "1.0", "true", "null", '{"b": 1, "a": [2]}']))
        | st.tuples(st.just("é"), TEXTS)
    ),
    "file_sha256": FILES,
}
# Few at a time, or else next to nothing matches.
FILTERS = st.sets(st.sampled_from(sorted(CONDITIONS)), max_size=3).flatmap(
    lambda names: st.builds(ClipFilter, **{name: CONDITIONS[name] for name in names})
)
PLACES = st.lists(st.integers(0, 30), min_size=1, max_size=8)
STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(LABELS), st.sampled_from(CONFIDENCES), FIELDS, FILES),
    st.tuples(st.just("add"), st.just("sad"), st.just(CONFIDENCES[1]), FIELDS, FILES),
    st.tuples(st.just("change"), PLACES, FIELDS),
    st.tuples(st.just("delete"), PLACES),
    st.tuples(
        st.just("rescore"),
        PLACES,
        st.none() | st.sampled_from(LABELS),
        st.sampled_from(CONFIDENCES),
    ),
    st.tuples(st.just("restart")),
)


class Rig:
    """A store and what is kept of it in memory, changed as the library changes them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.write() as session:
            self.model_row = models.activate(session, MODEL, np.ones(4, np.float32))
            clips.remove(session, clips.matching_ids(session, ClipFilter()))
        self.ids: list[int] = []
        self.restart()

    def restart(self) -> None:
        self.columns = FilterColumns(self.store)

    def new(
        self,
        emotion: str = "sad",
        confidence: float = 0.5,
        fields: ClipFields | None = None,
        file_sha256: str = "a" * 64,
    ) -> clips.NewClip:
        scores = np.zeros(9, np.float32)
        scores[LABELS.index(emotion)] = confidence
        return new_clip(
            self.model_row,
            recognition=Recognition(scores, np.ones(4, np.float32)),
            fields=fields or ClipFields(),
            file_sha256=file_sha256,
        )

    def commit(self, new: clips.NewClip) -> int:
        with self.store.write() as session:
            return clips.add(session, new)

    def add(self, *said: object) -> int:
        new = self.new(*said)  # type: ignore[arg-type]
        removals = self.columns.removals
        clip_id = self.commit(new)
        self.columns.add(clip_id, new, removals=removals)
        self.ids.append(clip_id)
        return clip_id

    def write(self, clip_id: int, fields: ClipFields) -> None:
        """Change a clip in the store only."""
        with self.store.write() as session:
            clips.update(session, clip_id, fields)

    def change(self, places: Sequence[int], fields: ClipFields) -> None:
        for clip_id in self.some(places):
            self.write(clip_id, fields)
            self.columns.refresh([clip_id])

    def rescore(self, places: Sequence[int], emotion: str | None, confidence: float) -> None:
        """Another model's scores take the place of theirs, all at once."""
        chosen = update(ClipRow).where(ClipRow.id.in_(self.some(places)))
        with self.columns.rescoring() as read, self.store.write() as session:
            session.execute(chosen.values(emotion=emotion, confidence=confidence))
            read(session)

    def erase(self, clip_ids: list[int]) -> None:
        """Delete clips from the store only."""
        with self.store.write() as session:
            clips.remove(session, clip_ids)

    def delete(self, places: Sequence[int]) -> None:
        gone = self.some(places)
        self.erase(gone)
        self.columns.remove(gone)
        self.ids = [clip_id for clip_id in self.ids if clip_id not in gone]

    def some(self, places: Sequence[int]) -> list[int]:
        return sorted({self.ids[place % len(self.ids)] for place in places if self.ids})

    def exactly(self, clip_id: int) -> ClipFilter:
        """All conditions together, each as tight as the clip passes."""
        with self.store.read() as session:
            clip = clips.get(session, clip_id)
        assert clip is not None
        fields = clip.fields
        instant = fields.recorded_at or clip.stored_at
        texts = ((key, value) for key, value in fields.metadata.items() if isinstance(value, str))
        return ClipFilter(
            (clip.emotion,) if clip.emotion else (),
            clip.confidence,
            fields.customer_id,
            fields.call_id,
            fields.agent_id,
            fields.tags,
            instant,
            instant + dt.timedelta(microseconds=1),
            tuple(texts),
            clip.file_sha256,
        )

    def check(self, *filters: ClipFilter) -> None:
        with self.store.read() as session:
            everything = clips.get_many(session, self.ids)
            assert sorted(everything) == self.ids
            for wanted in (*filters, ClipFilter()):
                expected = clips.matching_ids(session, wanted).tolist()
                assert self.columns.ids(wanted).tolist() == expected
                assert sorted(summaries.of(session, list(everything), wanted)) == expected
        customers = {clip.fields.customer_id for clip in everything.values()} - {None, "a"}
        left = [i for i in self.ids if everything[i].fields.customer_id not in customers]
        assert self.columns.ids(ClipFilter(), {str(one) for one in customers}).tolist() == left
        assert len(self.columns) == len(self.ids)
