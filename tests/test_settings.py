"""Settings: documented, checked, and refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import PREFIX, Settings, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env file and no EMOSEEK_ variable of the machine."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)
    assert settings.max_upload_bytes == 10 * 2**20
    assert settings.sqlalchemy_url == "sqlite:///data/emoseek.db"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_arguments_over_environment_over_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("EMOSEEK_PORT=1\nEMOSEEK_MODEL=bundled\nOTHER=x\n")
    assert (load_settings().port, load_settings().model) == (1, "bundled")
    monkeypatch.setenv("EMOSEEK_PORT", "2")
    assert load_settings().port == 2
    assert load_settings(port=3, host=None).port == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMOSEEK_PORT", "70000"),
        ("EMOSEEK_PORT", "x"),
        ("EMOSEEK_MAX_UPLOAD_MB", "0"),
        ("EMOSEEK_MAX_SECONDS", "14401"),
        ("EMOSEEK_MAX_CONCURRENCY", "0"),
        ("EMOSEEK_QUEUE_LENGTH", "-1"),
        ("EMOSEEK_KEEP_AUDIO", "maybe"),
        ("EMOSEEK_RUNTIME", "tensorflow"),
        ("EMOSEEK_DEVICE", "tpu"),
        ("EMOSEEK_DTYPE", "fp64"),
        ("EMOSEEK_API_KEY", "short"),
        ("EMOSEEK_DATABASE_URL", "mysql://x"),
        ("EMOSEEK_LOG_LEVEL", "loud"),
        ("EMOSEEK_MAX_UPLAOD_MB", "10"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_an_impossible_value_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, where: str
) -> None:
    if where == "environment":
        monkeypatch.setenv(name, value)
    else:
        (tmp_path / ".env").write_text(f"{name}={value}\n")
    with pytest.raises(SettingsError, match=name):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "voice.example"])
def test_an_open_host_wants_a_key(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(SettingsError, match="EMOSEEK_API_KEY"):
        load_settings(host=host)
    assert load_settings(host=host, api_key="12345678").host == host
    assert load_settings(host=host, insecure=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_host_does_not(host: str) -> None:
    assert load_settings(host=host).host == host


def test_postgres_urls_get_the_installed_driver() -> None:
    settings = load_settings(database_url="postgresql://u:p@h/d")
    assert settings.sqlalchemy_url == "postgresql+psycopg://u:p@h/d"
