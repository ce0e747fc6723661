"""The one settings object: built once at start and passed in."""

from __future__ import annotations

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError

PREFIX = "EMOSEEK_"
ENV_FILE = ".env"


class Settings(BaseSettings):
    """Every field is the environment variable (or `.env` line) EMOSEEK_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(7860, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    api_key: str | None = Field(
        None,
        min_length=8,
        description="Bearer key that every route but /healthz and the page then wants.",
    )
    insecure: bool = Field(
        False, description="Allow a host that is not loopback without an API key."
    )

    data_dir: Path = Field(
        Path("./data"), description="Database, kept audio and index; one process owns it."
    )
    outputs_dir: Path = Field(
        Path("./outputs"), description="Where result directories of requests are written."
    )
    outputs_max_age_hours: float = Field(
        168, gt=0, description="Older result directories are removed (hours)."
    )
    keep_audio: bool = Field(
        True, description="Keep each clip's 16 kHz audio as FLAC, for playing and re-embedding."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; default is SQLite in DATA_DIR. Postgres: postgresql://…"
    )

    model: str = Field(
        "auto",
        min_length=1,
        description="auto, bundled, a model id, or a FunASR-format directory.",
    )
    hub: Literal["modelscope", "huggingface"] = Field(
        "modelscope", description="Where a model that is an id is downloaded from and cached."
    )
    model_revision: str | None = Field(
        None,
        pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$",
        max_length=200,
        description="Branch, tag or commit of that model on its hub; default is what was "
        "pulled last, or the hub's default branch.",
    )
    allow_model_change: bool = Field(
        False,
        description="Start although the stored clips were embedded by another model; "
        "searches do not find those clips. With the model before a re-embedding, go back to it.",
    )
    runtime: Literal["fast", "funasr"] = Field(
        "fast", description="What runs the model: our own network, or FunASR's, one clip at a time."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:(0|[1-9][0-9]{0,3}))?)$",
        description="auto, cpu, cuda or cuda:N.",
    )
    dtype: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="Arithmetic of the encoder. auto is what the database's clips were embedded "
        "in; in a new one bf16 where the processor has it and the model is a large one, else fp32.",
    )
    max_concurrency: int = Field(
        32,
        ge=1,
        le=256,
        description="Recognitions at once, which batches are made of; each holds its audio.",
    )
    queue_length: int = Field(
        32, ge=0, le=10_000, description="Recognitions waiting behind those; beyond: 429."
    )

    max_upload_mb: float = Field(
        10, gt=0, le=4096, description="Largest audio file (MiB, 2^20 bytes)."
    )
    max_seconds: float = Field(
        600, ge=0.025, le=14_400, description="Longest audio (seconds, once decoded)."
    )

    repeat_window_days: float = Field(
        30, gt=0, le=3660, description="Repeat complaints: two clips are this far apart, at most."
    )
    repeat_nearness: float = Field(
        0.9,
        gt=0,
        le=2,
        description="Repeat complaints of one customer: similarity, as a share of the tenth "
        "neighbour's; above 1 only what is nearer.",
    )
    repeat_emotion: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Repeat complaints: Bhattacharyya coefficient of the emotion scores, at least.",
    )
    drift_false_alarms: float = Field(
        0.01,
        ge=0.001,
        le=0.1,
        description="Share of customers and agents without any change that are flagged as "
        "drifting within 100 clips.",
    )

    snapshot_minutes: float = Field(
        10, gt=0, le=60, description="A changed index is saved to disk this often (minutes)."
    )
    report_retention_days: float = Field(
        400,
        gt=0,
        le=36_500,
        description="Reports are removed this long after they were made (days).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line that is logged."
    )

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * 2**20)

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL with the driver that the project installs."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'emoseek.db'}"
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)


def load_settings(**overrides: Any) -> Settings:
    """Settings from `overrides`, the environment and `.env`, in that order.

    Raises:
        SettingsError: a value is unknown or impossible; the message names the setting.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name for name in (*os.environ, *dotenv_values(ENV_FILE)) if name.startswith(PREFIX)}
    if unknown := sorted(name for name in given if name.upper() not in known):
        near = difflib.get_close_matches(unknown[0].upper(), known, 1)
        hint = f" Do you mean {near[0]}?" if near else ""
        raise SettingsError(f"{unknown[0]} is not a setting of Emoseek.{hint}")
    try:
        settings = Settings(**{name: v for name, v in overrides.items() if v is not None})
    except ValidationError as exc:
        raise SettingsError(" ".join(_explain(error) for error in exc.errors())) from exc
    _check_host(settings)
    _check_database(settings)
    return settings


def _explain(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    what = error["msg"]
    if error["type"] == "string_pattern_mismatch":  # the pattern itself helps nobody
        what = f"{error['input']!r} is none of: {Settings.model_fields[name].description}"
    return f"{PREFIX}{name.upper()}: {what.rstrip('.')}."


def _check_host(settings: Settings) -> None:
    if settings.insecure or settings.api_key or _is_loopback(settings.host):
        return
    raise SettingsError(
        f"EMOSEEK_HOST is {settings.host}, which other machines can reach, and EMOSEEK_API_KEY "
        "is not set. Set a key, or EMOSEEK_INSECURE=true if anyone may use the service."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_database(settings: Settings) -> None:
    if not settings.sqlalchemy_url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingsError("EMOSEEK_DATABASE_URL: use sqlite:///FILE or postgresql://…")
