"""`emoseek report`, beside a service and without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.service import Service


def run(service: Service, *arguments: str, port: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*service.command[:-1], "report", *arguments],
        cwd=service.directory,
        env=service.environment | {"EMOSEEK_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_writes_the_same_with_the_service_and_without(
    start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    for _ in range(20):
        service.store(audio / "calm_voice_a.mp3", tags="a")
    asked = ("--name", "Mine", "--tag", "a", "--algorithm", "kmeans", "--clusters", "2")
    beside = run(service, *asked, port=service.port)
    assert beside.returncode == 0, beside.stderr
    told = json.loads(beside.stdout)
    assert (told["name"], told["clips"], told["filters"]) == ("Mine", 20, {"tag": ["a"]})
    service.stop()
    alone = run(service, *asked, "--out", "here")
    assert alone.returncode == 0, alone.stderr
    files = sorted((service.directory / "here").iterdir())
    assert [path.name for path in files] == ["report-2.csv", "report-2.html", "report-2.json"]
    assert 'href="http://127.0.0.1:1/api/v1/clips/' in files[1].read_text()
    again = json.loads(files[2].read_text())
    for fresh in ("id", "created", "cluster_run"):
        assert again.pop(fresh) != told.pop(fresh)
    assert again == told


def test_a_wish_that_is_not_valid_is_named(start: Callable[..., Service]) -> None:
    service = start()
    beside = run(service, "--since", "yesterday", port=service.port)
    service.stop()
    alone = run(service, "--since", "yesterday")
    for done in (beside, alone):
        assert done.returncode == 1
        assert "filters.since" in done.stderr
        assert done.stdout == ""
