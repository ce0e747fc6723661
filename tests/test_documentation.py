"""What is written down is true: README, Dockerfile, the description of the interface."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from app.cli import group
from app.settings import PREFIX, Settings
from scripts.write_openapi import PATH, openapi
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    [row] = [line for line in README.splitlines() if line.startswith(f"| `{PREFIX}{name.upper()}`")]
    default = Settings.model_fields[name].default
    written = {None: "", True: "`true`", False: "`false`"}.get(default, f"`{default}`")
    assert row.split("|")[2].strip() == written


def commands(parent: click.Group, name: str = "") -> dict[str, click.Command]:
    """Every command by the words that call it, those of groups included."""
    found = {}
    for word, command in parent.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{name}{word} ")
        else:
            found[f"{name}{word}"] = command
    return found


@pytest.mark.parametrize(("name", "command"), sorted(commands(group).items()))
def test_every_command_and_option_is_in_the_readme(name: str, command: click.Command) -> None:
    assert f"`emoseek {name}" in README
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in README, option.opts


def test_the_readmes_files_exist() -> None:
    for path in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:scripts|app|tests|index|migrations)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path


def test_the_committed_openapi_is_the_codes() -> None:
    assert PATH.read_text("utf-8") == openapi(), "run python scripts/write_openapi.py"


def test_every_parameter_and_field_of_the_interface_is_typed() -> None:
    schema = json.loads(openapi())
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], path


class TestDockerfile:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()

    def test_what_it_copies_exists(self) -> None:
        copied = [line.split()[1:-1] for line in self.lines if line.startswith("COPY")]
        local = [path for paths in copied if "--from=build" not in paths for path in paths]
        assert {"app", "index", "migrations", "alembic.ini", "constraints.txt"} <= set(local)
        for path in local:
            assert (ROOT / path).exists(), path

    def test_it_copies_what_the_service_needs(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().split()
        assert not {"app", "index", "migrations", "alembic.ini", "README.md"} & set(ignored)

    def test_its_commands_exist(self) -> None:
        [command] = [line for line in self.lines if line.startswith("CMD")]
        program, subcommand = json.loads(command.removeprefix("CMD "))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert program in project["scripts"]
        assert subcommand in group.commands

    def test_its_settings_exist(self) -> None:
        names = re.findall(r"EMOSEEK_(\w+)=", "\n".join(self.lines))
        assert {name.lower() for name in names} <= set(Settings.model_fields)

    def test_it_does_not_run_as_root(self) -> None:
        assert "USER emoseek" in self.lines

    def test_its_health_check_works(self) -> None:
        [line] = [line for line in self.lines if line.startswith("HEALTHCHECK")]
        program = json.loads(line.partition("CMD ")[2])[2]
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = mute.getsockname()[1]
            done = subprocess.run(
                [sys.executable, "-c", program],
                env={"EMOSEEK_PORT": str(port)},
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert "timed out" in done.stderr


def test_the_pins_cover_what_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    for requirement in project["dependencies"] + extras:
        assert re.match(r"[\w-]+", requirement)[0].lower() in pinned  # type: ignore[index]


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda p: p.name)
def test_shell_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
