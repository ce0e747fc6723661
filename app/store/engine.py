"""The database connection: pragmas, transactions, migrations."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session as Session

from app.errors import DataDirInUse, SettingsError, Unavailable

ROOT = Path(__file__).parents[2]
BUSY_TIMEOUT_MS = 30_000
CLAIM_KEY = 0x656D6F7365656B  # "emoseek", the advisory lock of a service on its database
CLAIM_TRIES = 30


class Store:
    """One database, SQLite or Postgres.

    Args:
        url: SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            url,
            pool_pre_ping=not url.startswith("sqlite"),
            pool_size=10,
            max_overflow=30,
            hide_parameters=True,  # customers' names belong in no log
            json_serializer=_json,
        )
        self.dialect = self._engine.dialect.name
        # SQLite has one writer. Waiting for a lock is fair and prompt; SQLite's busy handler
        # sleeps and lets others pass.
        self._one_writer: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.dialect == "sqlite" else contextlib.nullcontext()
        )
        if self.dialect == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._write_engine = self._engine.execution_options(write=True)
        self._read_engine = self._engine
        if self.dialect == "postgresql":  # SQLite's transactions are so anyway
            self._read_engine = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._claim: Connection | None = None
        self._closed = False

    def migrate(self) -> None:
        """Bring the schema to the newest version.

        Raises:
            SettingsError: the database was made by a newer version of Emoseek.
            Unavailable: the database does not answer.
        """
        if self._revision() == newest_revision():
            return
        from alembic import command  # a fifth of a second that most starts do without
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config(ROOT / "alembic.ini")
        config.set_main_option("script_location", str(ROOT / "migrations"))
        with _unavailable(), self.migrating() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as exc:
                raise SettingsError(
                    "EMOSEEK_DATABASE_URL: the database was made by a newer version of Emoseek."
                ) from exc

    def _revision(self) -> str | None:
        """Of the schema; None where there is none."""
        with _unavailable(), self._read_engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return revision

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction in which tables may be made anew.

        SQLite changes a table by copying and dropping it, which would delete all that refers to
        it: foreign keys are off meanwhile, and checked before the commit.
        """
        with self._write_engine.connect() as connection:
            sqlite = connection.connection.dbapi_connection if self.dialect == "sqlite" else None
            if sqlite is not None:
                sqlite.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
                    if sqlite is not None:
                        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                        assert not broken, broken
            finally:
                if sqlite is not None:
                    sqlite.execute("PRAGMA foreign_keys = ON")

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing written in it is kept.

        Raises:
            Unavailable: the database does not answer.
        """
        with _unavailable(), Session(self._read_engine) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is on disk when the block ends, or undone when it raises.

        Raises:
            Unavailable: the database does not answer, or the store is closed.
        """
        with _unavailable(), self._one_writer, Session(self._write_engine) as session:
            if self._closed:
                raise Unavailable("The service is stopping.")
            yield session
            session.commit()

    def claim(self) -> None:
        """Make sure that no other service works on this Postgres database, until closed.

        Its clips would be missing in our index. (A SQLite database is in the data directory,
        which has a lock of its own.)

        Raises:
            DataDirInUse: another service does.
            Unavailable: the database does not answer.
        """
        if self.dialect != "postgresql":
            return
        query = text("SELECT pg_try_advisory_lock(:key)")
        with _unavailable():
            self._claim = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for _ in range(CLAIM_TRIES):  # the server may not have noticed yet that one was killed
                if self._claim.scalar(query, {"key": CLAIM_KEY}):
                    return
                time.sleep(0.1)
        self._claim.close()
        raise DataDirInUse(
            "Another Emoseek service works on this database. Stop it first, or set "
            "EMOSEEK_DATABASE_URL to another database."
        )

    def check(self) -> None:
        """Raises Unavailable when the database does not answer."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def checkpoint(self) -> bool:
        """Empty SQLite's write-ahead log, which still holds what was deleted.

        Returns:
            False when a reader was in the way; nothing was waited for.
        """
        if self.dialect != "sqlite":
            return True
        with self._one_writer, contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")
            try:
                busy: int = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        return busy == 0

    def keep_claim(self) -> None:
        """Claim the Postgres database anew if the connection that claimed it was lost.

        Raises:
            DataDirInUse: another service was quicker.
            Unavailable: the database does not answer.
        """
        if self._claim is None:
            return
        try:
            self._claim.execute(text("SELECT 1"))
        except DBAPIError:
            self._claim.close()
            self.claim()

    def close(self) -> None:
        """No transaction that writes begins once this has returned."""
        with self._one_writer:
            self._closed = True
        if self._claim is not None:
            self._claim.close()
        self._engine.dispose()


def newest_revision() -> str:
    """Of the migrations, each of which begins its file's name with its own."""
    return max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as exc:
        raise Unavailable("The database does not answer; try again later.") from exc


def _json(value: Any) -> str:
    """Of a column of JSON; what is a string is encoded already."""
    return value if isinstance(value, str) else json.dumps(value)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit is on disk before it is acknowledged
        "foreign_keys = ON",
        "secure_delete = ON",  # deleted clips leave no bytes in free pages
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads first and writes later can fail at the upgrade.
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
