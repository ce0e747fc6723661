"""Tables, transactions and queries on SQLite and Postgres."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import String, text

from app.domain import ClipFields, ClipFilter, ModelInfo, Recognition
from app.errors import DataDirInUse, SettingsError, Unavailable
from app.store import Store, clips, database, embeddings, idempotency, models
from app.store import ids as clip_ids
from app.store.engine import newest_revision
from tests.conftest import ROOT

MODEL = ModelInfo("test/model", "d" * 64, 4, bundled=False)
NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


def new_clip(model_id: int, **changes: object) -> clips.NewClip:
    scores = np.full(9, 0.05, np.float32)
    scores[3] = 0.6
    new = clips.NewClip(
        model_id=model_id,
        recognition=Recognition(scores, np.arange(4, dtype=np.float32)),
        fields=ClipFields(),
        stored_at=NOW,
        duration=1.5,
        channel="mix",
        container="wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=2,
        file_sha256="a" * 64,
        audio_sha256="b" * 64,
        indexable=True,
        audio_key=None,
        result_dir=None,
        warnings=("short",),
    )
    return dataclasses.replace(new, **changes)  # type: ignore[arg-type]


@pytest.fixture
def model_id(store: Store) -> int:
    with store.write() as session:
        return models.activate(session, MODEL, np.ones(4, np.float32))


def add(store: Store, model_id: int, **changes: object) -> int:
    with store.write() as session:
        return clips.add(session, new_clip(model_id, **changes))


def test_the_newest_revision_is_alembics_head(store: Store) -> None:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == newest_revision()
    assert store._revision() == newest_revision()


def test_migrations_make_the_tables_that_the_code_declares(store: Store) -> None:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    with store._engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_migrations_can_be_undone(store: Store) -> None:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    with store._write_engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    store.migrate()


def test_a_clip_comes_back_as_it_went_in(store: Store, model_id: int) -> None:
    fields = ClipFields(
        customer_id="ä" * 200,
        recorded_at=dt.datetime(2020, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))),
        tags=("b", "a"),
        metadata={"x": [1, {"y": None}], "é": "\U0001f600"},
    )
    clip_id = add(store, model_id, fields=fields, audio_key="k", result_dir="r")
    with store.read() as session:
        clip = clips.get(session, clip_id)
        vector = embeddings.get(session, model_id, [clip_id])[clip_id]
    assert clip is not None
    assert clip.fields == dataclasses.replace(fields, tags=("a", "b"))
    assert clip.fields.recorded_at is not None
    assert clip.fields.recorded_at.tzinfo == dt.UTC
    assert (clip.stored_at, clip.duration, clip.model) == (NOW, 1.5, MODEL)
    assert (clip.emotion, clip.scores[3]) == ("happy", pytest.approx(0.6))
    assert (clip.audio_key, clip.result_dir, clip.indexable) == ("k", "r", True)
    np.testing.assert_array_equal(vector, np.arange(4, dtype=np.float32))  # type: ignore[arg-type]


def test_ids_are_never_reused(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(3)]
    with store.write() as session:
        assert len(clips.remove(session, ids)) == 3
    assert add(store, model_id) > max(ids)


def test_a_failed_transaction_leaves_nothing(store: Store, model_id: int) -> None:
    with pytest.raises(RuntimeError), store.write() as session:
        clips.add(session, new_clip(model_id, fields=ClipFields(tags=("t",), metadata={"a": 1})))
        raise RuntimeError
    with store.read() as session:
        for table in ("clips", "clip_tags", "clip_metadata", "embeddings"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_removing_takes_everything_of_a_clip(store: Store, model_id: int) -> None:
    fields = ClipFields(tags=("t",), metadata={"a": 1})
    gone = add(store, model_id, fields=fields, audio_key="k", result_dir="r")
    with store.write() as session:
        idempotency.remember(session, "key", "f", [gone], '{"clip_id": 1}', NOW)
    with store.write() as session:
        assert clips.remove(session, [gone, 10**9]) == [clips.Deleted(gone, "k", "r")]
    with store.read() as session:
        for table in ("clips", "clip_tags", "clip_metadata", "embeddings"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        known = idempotency.recall(session, "key", NOW)
    assert known == idempotency.Remembered("f", None)


def test_idempotency_keys_live_a_day(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    with store.write() as session:
        idempotency.remember(session, "key", "f", [clip_id], '{"a": 1}', NOW)
    day = dt.timedelta(hours=24)
    with store.read() as session:
        known = idempotency.recall(session, "key", NOW + day * 0.99)
        assert known == idempotency.Remembered("f", {"a": 1})
        assert idempotency.recall(session, "key", NOW + day) is None
    with store.write() as session:
        idempotency.remember(session, "key", "g", [clip_id], "{}", NOW + day)


def test_indexable_ids_are_of_one_model(store: Store, model_id: int) -> None:
    first, hidden = add(store, model_id), add(store, model_id, indexable=False)
    with store.write() as session:
        other = dataclasses.replace(MODEL, digest="e" * 64, dimension=2)
        other_id = models.activate(session, other, np.zeros(2, np.float32))
    second = add(store, other_id)
    with store.read() as session:
        assert models.active(session) == other
        assert embeddings.indexable_ids(session, model_id).tolist() == [first]
        assert embeddings.indexable_ids(session, other_id).tolist() == [second]
        assert embeddings.count_indexable(session, model_id) == 1
        assert models.clips_of_others(session, MODEL.digest) == [(other, 1)]
        chunks = list(embeddings.stream(session, model_id, [first, hidden, second]))
        assert [ids.tolist() for ids, _ in chunks] == [[first]]
        prior = models.prior_mean(session, MODEL.digest)
    np.testing.assert_array_equal(prior, np.ones(4, np.float32))  # type: ignore[arg-type]


def test_many_ids_at_once(store: Store, model_id: int) -> None:
    with store.write() as session:
        ids = [clips.add(session, new_clip(model_id)) for _ in range(1203)]
    with store.read() as session:
        assert list(clips.get_many(session, ids)) != []
        assert sorted(clips.get_many(session, ids)) == ids
        found = [i for chunk, _ in embeddings.stream(session, model_id, ids) for i in chunk]
        assert found == ids
    with store.write() as session:
        assert len(clips.remove(session, ids)) == 1203


def test_long_metadata_values_are_found(store: Store, model_id: int) -> None:
    value = "long" * 4000
    clip_id = add(store, model_id, fields=ClipFields(metadata={"text": value}))
    with store.read() as session:
        for wanted, found in ((value, [clip_id]), (value[:-1], [])):
            where = ClipFilter(metadata=(("text", wanted),))
            assert clips.matching_ids(session, where).tolist() == found


def test_writers_wait_for_each_other(store: Store, model_id: int) -> None:
    def write() -> None:
        for _ in range(10):
            add(store, model_id)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert clips.count(session, ClipFilter()) == 40


def test_commits_are_durable_on_sqlite(store: Store) -> None:
    if store.dialect == "sqlite":
        with store.read() as session:
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert session.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert session.scalar(text("PRAGMA foreign_keys")) == 1
            assert session.scalar(text("PRAGMA secure_delete")) == 1
    else:
        with store.read() as session:
            assert session.scalar(text("SHOW synchronous_commit")) == "on"


def test_a_database_that_does_not_answer() -> None:
    store = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        store.check()


def test_a_postgres_database_has_one_service(store: Store) -> None:
    second = Store(store._engine.url.render_as_string(hide_password=False))
    store.claim()
    if store.dialect == "postgresql":
        with pytest.raises(DataDirInUse):
            second.claim()
        store.close()
    second.claim()
    second.close()


def test_a_table_can_be_made_anew_without_losing_what_refers_to_it(
    store: Store, model_id: int
) -> None:
    clip_id = add(store, model_id, fields=ClipFields(tags=("t",), metadata={"a": 1}))
    with store.migrating() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table(
            "clips",
            recreate="always" if store.dialect == "sqlite" else "auto",
            table_kwargs={"sqlite_autoincrement": True},
        ) as batch:
            batch.alter_column("codec", type_=String(80))
    with store.read() as session:
        clip = clips.get(session, clip_id)
        assert clip is not None
        assert clip.fields.tags == ("t",)
        assert embeddings.has(session, model_id, clip_id)
        where = ClipFilter(metadata=(("a", "1"),))
        assert clips.matching_ids(session, where).tolist() == [clip_id]
    with store.write() as session:
        clips.remove(session, [clip_id])
    assert add(store, model_id) > clip_id
    with store.read() as session:
        assert not embeddings.has(session, model_id, clip_id)


def test_concurrent_changes_of_one_clip(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    failures: list[BaseException] = []

    def change(number: int) -> None:
        try:
            for _ in range(10):
                with store.write() as session:
                    clip = clips.get_locked(session, clip_id)
                    assert clip is not None
                    more = dataclasses.replace(
                        clip.fields,
                        tags=(*clip.fields.tags, f"{number}-{len(clip.fields.tags)}"),
                        metadata={"n": number},
                    )
                    clips.update(session, clip_id, more)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.read() as session:
        clip = clips.get(session, clip_id)
    assert clip is not None
    assert len(clip.fields.tags) == 60


def test_nothing_is_written_after_closing(store: Store, model_id: int) -> None:
    store.close()
    with pytest.raises(Unavailable):
        add(store, model_id)


def test_a_database_of_a_newer_version_is_refused(store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="newer"):
        store.migrate()


def test_a_database_keeps_its_identity(store: Store) -> None:
    with store.write() as session:
        first = database.identity(session)
    with store.write() as session:
        assert database.identity(session) == first


def test_concurrent_deletions_of_the_same_clips(store: Store, model_id: int) -> None:
    for _ in range(3):
        ids = [add(store, model_id) for _ in range(5)]
        removed: list[int] = []
        failures: list[BaseException] = []
        start = threading.Barrier(4)

        def delete(
            wanted: list[int],
            start: threading.Barrier = start,
            removed: list[int] = removed,
            failures: list[BaseException] = failures,
        ) -> None:
            start.wait()
            try:
                with store.write() as session:
                    gone = clips.remove(session, wanted)
                removed.extend(one.clip_id for one in gone)
            except BaseException as exc:
                failures.append(exc)

        wanted = [ids, ids, ids[::-1], ids[2:3]]
        threads = [threading.Thread(target=delete, args=(some,)) for some in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(removed) == ids


def test_a_checkpoint_does_not_wait_for_readers(store: Store, model_id: int) -> None:
    clip_id = add(store, model_id)
    with store.read() as session:
        clips.get(session, clip_id)
        add(store, model_id)
        if store.dialect == "sqlite":
            assert not store.checkpoint()
        add(store, model_id)
    assert store.checkpoint()


def test_a_lost_claim_is_noticed(store: Store) -> None:
    if store.dialect == "sqlite":
        return store.keep_claim()
    store.claim()
    store.keep_claim()
    assert store._claim is not None
    pid = store._claim.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with store.read() as session:
        session.execute(text(f"SELECT pg_terminate_backend({pid})"))
    store.keep_claim()
    second = Store(store._engine.url.render_as_string(hide_password=False))
    with pytest.raises(DataDirInUse):
        second.claim()
    second.close()
    return None


def test_the_id_of_a_deleted_clip_stays_taken(store: Store, model_id: int) -> None:
    first, second = add(store, model_id, audio_key="k", result_dir="r"), add(store, model_id)
    with store.write() as session:
        clips.remove(session, [first, second])
        assert [gone.clip_id for gone in clips.doomed(session)] == [first]
        clips.files_removed(session, [first, second])
        assert clips.doomed(session) == []
    with store.read() as session:
        assert clip_ids.taken(session, np.array([first, second, second + 1])).tolist() == [
            first,
            second,
        ]
