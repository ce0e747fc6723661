"""Filters answered from memory, against the same filters in SQL."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain import LABELS, ClipFields, ClipFilter, ModelInfo, Recognition
from app.errors import Unavailable
from app.library.columns import TABLE_BITS, Columns
from app.library.filter_columns import FilterColumns
from app.store import Store, clips, models
from app.store.filters import matches
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
            (clip.emotion,),
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
                for clip_id, clip in everything.items():
                    if not wanted.metadata:
                        assert matches(clip, wanted) == (clip_id in expected)
        customers = {clip.fields.customer_id for clip in everything.values()} - {None, "a"}
        left = [i for i in self.ids if everything[i].fields.customer_id not in customers]
        assert self.columns.ids(ClipFilter(), {str(one) for one in customers}).tolist() == left
        assert len(self.columns) == len(self.ids)


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=30),
    filters=st.lists(FILTERS, min_size=1, max_size=8),
    places=PLACES,
)
def test_memory_and_sql_agree(
    store: Store, steps: list[tuple[object, ...]], filters: list[ClipFilter], places: list[int]
) -> None:
    rig = Rig(store)
    for name, *said in steps:
        getattr(rig, str(name))(*said)
    filters += [rig.exactly(clip_id) for clip_id in rig.some(places)]
    rig.check(*filters)
    rig.restart()
    rig.check(*filters)


def test_each_field_alone_finds_some_and_leaves_some(rig: Rig) -> None:
    said = ClipFields("c", "l", "g", NOON, ("t", "u"), {"k": "v"})
    found = rig.add("happy", 0.7, said, "b" * 64)
    rig.add()
    day = dt.timedelta(days=1)
    for wanted in (
        ClipFilter(emotions=("happy", "angry")),
        ClipFilter(min_confidence=0.6),
        ClipFilter(customer_id="c"),
        ClipFilter(call_id="l"),
        ClipFilter(agent_id="g"),
        ClipFilter(tags=("t", "u")),
        ClipFilter(metadata=(("k", "v"),)),
        ClipFilter(file_sha256="b" * 64),
    ):
        assert rig.columns.ids(wanted).tolist() == [found]
        rig.check(wanted)
    rig.change([0], ClipFields(recorded_at=NOON - day))
    rig.change([1], ClipFields(recorded_at=NOON + day))
    assert rig.columns.ids(ClipFilter(until=NOON)).tolist() == [found]
    assert rig.columns.ids(ClipFilter(since=NOON)).tolist() == rig.ids[1:]


def test_customers_whose_hashes_are_alike(rig: Rig) -> None:
    alike = (str(n) for n in range(10**7) if (hash(str(n)) ^ hash("a")) % 2**TABLE_BITS == 0)
    other = next(alike)
    rig.add("sad", 0.5, ClipFields("a"))
    kept = rig.add("sad", 0.5, ClipFields(other))
    assert rig.columns.ids(ClipFilter(), {"a"}).tolist() == [kept]


def test_a_clip_deleted_before_its_add_is_not_added(rig: Rig) -> None:
    new, removals = rig.new(), rig.columns.removals
    clip_id = rig.commit(new)
    rig.erase([clip_id])
    rig.columns.remove([clip_id])
    rig.columns.add(clip_id, new, removals=removals)
    rig.check()


def test_a_clip_changed_before_its_add_stays_changed(rig: Rig) -> None:
    new, removals = rig.new(), rig.columns.removals
    clip_id = rig.commit(new)
    rig.ids.append(clip_id)
    rig.change([0], ClipFields(customer_id="new"))
    rig.columns.add(clip_id, new, removals=removals)
    rig.check(ClipFilter(customer_id="new"))


def test_clips_that_arrive_out_of_order(rig: Rig) -> None:
    new = rig.new(fields=ClipFields(tags=("t",)))
    rig.ids = [rig.commit(new) for _ in range(5)]
    for clip_id in rig.ids[::-1]:
        rig.columns.add(clip_id, new, removals=rig.columns.removals)
    rig.check(ClipFilter(tags=("t",)))


def test_the_later_of_two_changes_stays(rig: Rig) -> None:
    clip_id = rig.add()
    rig.write(clip_id, ClipFields(customer_id="first"))
    rig.write(clip_id, ClipFields(customer_id="second"))
    for _ in range(2):  # in whichever order the two say so
        rig.columns.refresh([clip_id])
        rig.check(ClipFilter(customer_id="first"), ClipFilter(customer_id="second"))


def test_a_change_that_could_not_be_read_is_made_up_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_id = rig.add()
    rig.write(clip_id, ClipFields(customer_id="new"))

    def fail(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "read", fail)
        with pytest.raises(Unavailable):
            rig.columns.refresh([clip_id])
        with pytest.raises(Unavailable):
            rig.columns.ids(ClipFilter(customer_id="new"))
    rig.check(ClipFilter(customer_id="new"))


def test_an_add_that_failed_is_made_up_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Columns, "extended", fail)
        rig.add()
    rig.check()


def test_an_audit_finds_what_changed_unseen(rig: Rig) -> None:
    gone = rig.add()
    rig.add()
    rig.erase([gone])
    rig.ids = [rig.ids[1], *(rig.commit(rig.new()) for _ in range(3))]
    rig.columns.audit()
    rig.check()


def test_many_clips_read_at_once(rig: Rig) -> None:
    new = rig.new(fields=ClipFields(tags=("t",), metadata={"k": 1}))
    with rig.store.write() as session:
        rig.ids = [clips.add(session, new) for _ in range(1203)]
    rig.columns.refresh(rig.ids)
    rig.check(ClipFilter(tags=("t",)), ClipFilter(metadata=(("k", "1"),)))
    rig.delete(range(400, 1000))
    rig.check(ClipFilter(tags=("t",)))


def test_readers_never_see_half_a_change(rig: Rig) -> None:
    steady = [rig.add("sad", 0.5, ClipFields("a", tags=("t",))) for _ in range(20)]
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        while not stop.is_set():
            found = rig.columns.ids(ClipFilter(tags=("t",), emotions=("sad",)))
            if found.tolist() != steady:
                wrong.append(found)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(120):  # slots die, columns are packed and grow meanwhile
            rig.change([number % 20], ClipFields("b" if number % 2 else "a", tags=("t",)))
            rig.add()
            if number % 3:
                rig.delete([-1])
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    rig.check(ClipFilter(customer_id="a"), ClipFilter(customer_id="b"))


def test_writers_together(rig: Rig) -> None:
    failures: list[BaseException] = []

    def write(customer: str) -> None:
        try:
            for _ in range(15):
                clip_id = rig.add("sad", 0.5, ClipFields(customer))
                rig.write(clip_id, ClipFields(customer, tags=("t",)))
                rig.columns.refresh([clip_id])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    rig.ids.sort()
    rig.check(*(ClipFilter(customer_id=name, tags=("t",)) for name in "abcd"))
