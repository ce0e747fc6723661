"""run.sh and install.sh, with the installer's part played by small scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PYTHON = """#!/bin/sh
echo "python $*" >>"{log}"
case "$*" in
"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "{emoseek}" .venv/bin/emoseek;;
*"pip install"*) exit $(cat "{status}");;
esac
"""
EMOSEEK = """#!/bin/sh
echo "emoseek $*" >>"{log}"
"""


class Checkout:
    """The scripts in a directory with a blank in its name, and what they called."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "my emoseek"
        self.log, self.status = directory / "log", directory / "status"
        self.status.write_text("0")
        self.log.touch()
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        self.python, emoseek = directory / "python", directory / "emoseek"
        names = {"log": self.log, "status": self.status, "emoseek": emoseek}
        for path, text in ((self.python, PYTHON), (emoseek, EMOSEEK)):
            path.write_text(text.format(**names))
            path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            ["bash", self.root / "scripts" / script, *arguments],
            env=os.environ | {"PYTHON": str(self.python)},
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "--version" not in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_run_installs_and_the_second_does_not(checkout: Checkout) -> None:
    first = checkout.run("run.sh", "--port", "1")
    assert first.returncode == 0, first.stderr
    assert "installing emoseek[cpu]" in first.stderr or "emoseek[gpu]" in first.stderr
    assert any("-m venv" in line for line in checkout.called())
    assert any("pip install" in line and "-c constraints.txt" in line for line in checkout.called())
    assert checkout.called()[-1] == "emoseek serve --port 1"
    second = checkout.run("run.sh")
    assert checkout.called() == ["emoseek serve"]
    assert "installing" not in second.stderr


def test_new_pins_are_installed(checkout: Checkout) -> None:
    checkout.run("run.sh")
    with (checkout.root / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    checkout.run("run.sh")
    assert any("pip install" in line for line in checkout.called())


def test_a_failed_installation_is_told_and_tried_again(checkout: Checkout) -> None:
    checkout.status.write_text("1")
    failed = checkout.run("run.sh")
    assert failed.returncode == 1
    assert "the installation failed" in failed.stderr
    assert not any(line.startswith("emoseek") for line in checkout.called())
    checkout.status.write_text("0")
    assert checkout.run("run.sh").returncode == 0


def test_restart_and_stop(checkout: Checkout) -> None:
    assert checkout.run("run.sh", "stop").returncode == 1
    checkout.run("run.sh")
    checkout.run("run.sh", "restart", "--port", "2")
    assert checkout.called() == ["emoseek serve --replace --port 2"]
    checkout.run("run.sh", "stop")
    assert checkout.called() == ["emoseek stop"]


def test_an_old_python_is_refused(checkout: Checkout) -> None:
    checkout.python.write_text("#!/bin/sh\nexit 1\n")
    done = checkout.run("run.sh")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_the_test_script_stops_at_the_first_failure(checkout: Checkout) -> None:
    done = checkout.run("test.sh")
    assert done.returncode == 1
    assert "lint" in done.stderr
    assert "types" not in done.stderr
    assert any("cpu,dev" in line or "gpu,dev" in line for line in checkout.called())
