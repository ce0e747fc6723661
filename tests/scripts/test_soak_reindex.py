"""`python scripts/soak_reindex.py` on the project's own recordings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_nothing_is_refused_or_lost(audio: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.soak_reindex", str(audio), "--clients", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "requests meanwhile, failed: none" in done.stdout
    assert "changed [1, 1] times" in done.stdout
    assert "lost or not forgotten after it: 0" in done.stdout
    for way in ("back", "forth"):
        [line] = [line for line in done.stdout.splitlines() if line.startswith(way)]
        assert "lost or not forgotten: 0; with other scores than before: 0" in line
