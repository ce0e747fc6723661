"""Imported clips and their ids, on both databases."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app.domain import LABELS, ClipFields, ClipFilter, GivenScores
from app.library import imports as library_imports
from app.store import Store, clips, embeddings, imports
from app.store import ids as clip_ids
from tests.conftest import ROOT
from tests.library import spaces_rig as rig
from tests.store.test_store import NOW, add, model_id

__all__ = ["model_id"]  # a fixture

SCORES = (0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05)
KEY = "e" * 64


def store_block(
    store: Store, model: int, *imported: imports.ImportedClip, ids: list[int] | None = None
) -> list[int]:
    """Store clips with embeddings 0, 1, …; returns their ids."""
    vectors = np.arange(4 * len(imported), dtype=np.float32).reshape(-1, 4)
    with store.write() as session:
        drawn = clip_ids.draw(session, len(imported)) if ids is None else np.array(ids, np.int64)
        imports.add(session, model, drawn, imported, vectors, NOW)
    return [int(i) for i in drawn]


def test_what_is_not_known_stays_unknown(store: Store, model_id: int) -> None:
    fields = ClipFields("c", "k", "a", NOW - dt.timedelta(1), ("t", "u"), {"k": "v"})
    ids = store_block(
        store,
        model_id,
        imports.ImportedClip(),
        imports.ImportedClip(fields, GivenScores("unknown")),
        imports.ImportedClip(heard=GivenScores("happy", 0.3, SCORES)),
    )
    with store.read() as session:
        stored = clips.get_many(session, ids)
        bare, labelled, scored = (stored[clip_id] for clip_id in ids)
        assert (bare.emotion, bare.confidence, bare.scores, bare.duration) == (None,) * 4
        assert (bare.file_sha256, bare.audio_sha256, bare.audio_key) == (None,) * 3
        assert bare.indexable
        assert labelled.fields == fields
        assert (labelled.emotion, labelled.confidence, labelled.scores) == ("unknown", None, None)
        assert (scored.emotion, scored.confidence, scored.scores) == ("happy", 0.3, SCORES)
        vector = embeddings.get(session, model_id, [ids[1]])[ids[1]]
        np.testing.assert_array_equal(vector, [4, 5, 6, 7])  # type: ignore[arg-type]
        assert embeddings.indexable_ids(session, model_id).tolist() == ids

        def found(**wanted: object) -> list[int]:
            return clips.matching_ids(session, ClipFilter(**wanted)).tolist()  # type: ignore[arg-type]

        assert found(emotions=("unknown",)) == [ids[1]]
        assert found(emotions=tuple(LABELS)) == ids[1:]
        assert found(min_confidence=0.0) == [ids[2]]
        assert found(tags=("t",), metadata=(("k", "v"),), until=NOW) == [ids[1]]
        facet = dict(clips.facet(session, "emotion", ClipFilter(), 10))
        assert facet == {None: 1, "unknown": 1, "happy": 1}
        assert clips.same_file(session, None, None, "mix") is None


def test_a_clip_without_embedding_is_not_indexed(store: Store, model_id: int) -> None:
    with store.write() as session:
        ids = clip_ids.draw(session, 1)
        imports.add(session, model_id, ids, [imports.ImportedClip()], None, NOW)
    with store.read() as session:
        clip = clips.get(session, int(ids[0]))
        assert clip is not None
        assert not clip.indexable
        assert embeddings.count_indexable(session, model_id) == 0


def test_drawn_ids_are_used_by_nobody_else(store: Store, model_id: int) -> None:
    nothing = imports.ImportedClip()
    first = store_block(store, model_id, nothing, nothing, nothing)
    between = add(store, model_id)
    second = store_block(store, model_id, nothing, nothing)
    assert [*first, between, *second] == list(range(first[0], first[0] + 6))


def test_given_ids_are_skipped_and_never_reused(store: Store, model_id: int) -> None:
    with store.write() as session:
        clip_ids.skip_to(session, 40)
        clip_ids.skip_to(session, 30)  # goes back nowhere
    store_block(store, model_id, imports.ImportedClip(), imports.ImportedClip(), ids=[7, 40])
    with store.write() as session:
        clips.remove(session, [40])
    assert add(store, model_id) == 41
    assert store_block(store, model_id, imports.ImportedClip()) == [42]


def test_taken_ids_are_those_of_clips_stored_and_deleted(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(4)]
    with store.write() as session:
        clips.remove(session, ids[:2])
        clips.files_removed(session, ids[:1])
    asked = np.arange(1, 2000, dtype=np.int64)
    with store.read() as session:
        assert clip_ids.taken(session, asked).tolist() == ids
        assert clip_ids.taken(session, asked[ids[-1] :]).tolist() == []


def test_ids_are_drawn_and_skipped_at_once(store: Store, model_id: int) -> None:
    drawn: list[int] = []
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            start.wait()
            for step in range(1, 11):
                if number == 0:
                    with store.write() as session:
                        clip_ids.skip_to(session, 50 * step)
                else:
                    drawn.extend(store_block(store, model_id, *[imports.ImportedClip()] * 3))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(drawn)) == len(drawn) == 90
    assert add(store, model_id) > max(*drawn, 500)


def test_progress_is_committed_with_the_rows(store: Store, model_id: int) -> None:
    with store.write() as session:
        assert imports.progress(session, KEY, model_id) is None
        imports.begin(session, KEY, model_id, 10, NOW)
    with pytest.raises(RuntimeError), store.write() as session:
        imports.advance(session, KEY, model_id, 5)
        raise RuntimeError
    with store.write() as session:
        assert imports.progress(session, KEY, model_id) == imports.Progress(10, 0, None)
        imports.advance(session, KEY, model_id, 5)
    with store.write() as session:
        assert imports.progress(session, KEY, model_id, lock=True) == imports.Progress(10, 5, None)
        assert imports.forget(session, KEY, model_id)
        assert not imports.forget(session, KEY, model_id)


def test_an_import_of_one_clip_is_forgotten_with_it(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    with store.write() as session:
        imports.begin(session, KEY, model_id, 1, NOW, done=1, clip_id=clip_id)
    with store.write() as session:
        known = imports.progress(session, KEY, model_id)
        assert known is not None
        assert known.clip_id == clip_id
        clips.remove(session, [clip_id])
    with store.read() as session:
        assert imports.progress(session, KEY, model_id) is None


def test_the_migration_keeps_clips_and_gives_no_id_again(store: Store, model_id: int) -> None:
    kept, deleted = add(store, model_id), add(store, model_id)
    with store.write() as session:
        clips.remove(session, [deleted])
        before = clips.get(session, kept)
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    with store.migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert not connection.scalar(text("SELECT count(*) FROM clips WHERE emotion IS NULL"))
    store.migrate()
    with store.read() as session:
        assert clips.get(session, kept) == before
        assert embeddings.has(session, model_id, kept)
    assert add(store, model_id) > deleted


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_ids_drawn_are_above_those_that_came_without_a_word(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if database == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_url")
    library = rig.opened(tmp_path, **settings)
    try:
        library_imports.begin(library, KEY, None, rows=2, dimension=192, highest_id=None)
        vectors = np.ones((2, 192), np.float32)
        rows, ids = [imports.ImportedClip()] * 2, np.array([2, 5], np.int64)
        library_imports.add_rows(library, KEY, None, 0, vectors, rows, ids)
        assert rig.post(library, 1) == 6
    finally:
        library.close()
