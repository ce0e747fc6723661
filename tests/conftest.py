"""Fixtures: real servers on free ports, real databases, real audio."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pgserver
import pytest
import sqlalchemy

from app.recogniser.load import reference_clips
from app.store import Store
from scripts import random_model
from tests.service import Service

ROOT = Path(__file__).parents[1]
IN_CI = os.environ.get("CI") == "true"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: nobody reads the list of skips there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def emodb() -> Path:
    """The directory of EmoDB's FLAC files, which is not part of the project."""
    directory = ROOT.parent / "shared" / "data" / "emodb"
    if not directory.is_dir():
        pytest.skip("EmoDB is not at ../shared/data/emodb")
    return directory


@pytest.fixture(scope="session")
def audio() -> Path:
    """The directory of the project's own synthesised recordings."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model as large as the bundled one, with random weights."""
    return random_model.write(
        tmp_path_factory.mktemp("models") / "second", "bundled", clips=reference_clips(), seed=3
    )


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service that the tests share; they must not mind each other's clips."""
    with Service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services of one's own: start(EMOSEEK_NAME=value, …); stopped at the end."""
    started: list[Service] = []

    def start_one(**environment: str) -> Service:
        service = Service(tmp_path, **environment)
        started.append(service)
        return service.start()

    yield start_one
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Postgres server that the tests start."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """URL of an empty database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    url = postgres.replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgres"])
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store over an empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'test.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    store = Store(url.replace("postgresql://", "postgresql+psycopg://"))
    yield store
    store.close()


@pytest.fixture
def store(empty_store: Store) -> Store:
    """A migrated store."""
    empty_store.migrate()
    return empty_store
