"""The whole service on Postgres."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import requests

from tests.cli.test_cli import run
from tests.cli.test_import_vectors import write_csv, write_npy
from tests.service import Service


def test_recognise_find_restart_delete(
    start: Callable[..., Service], postgres_url: str, audio: Path
) -> None:
    service = start(EMOSEEK_DATABASE_URL=postgres_url)
    said = {"customer_id": "c", "tags": ["t"], "metadata": '{"a": 1}'}
    ids = [service.store(path, **said) for path in sorted(audio.glob("*_voice_*.flac"))]
    assert service.get("/status").json()["database"] == {"dialect": "postgresql", "clips": len(ids)}
    where = {"customer_id": "c", "tag": "t", "meta.a": "1", "since": "2024-01-01T00:00:00Z"}
    assert set(service.neighbours(ids[0], k=100, **where)) == set(ids[1:])
    odd = requests.post(
        f"{service.url}/api/v1/emotion/recognize?%00=1",
        files={"audio_file": (audio / "sad_voice_c.flac").read_bytes()},
        data={"index": "false"},
    )
    assert odd.status_code == 200, odd.text
    requests.delete(f"{service.url}/api/v1/clips/{odd.json()['clip_id']}")
    service.stop()
    service.start()
    assert requests.delete(f"{service.url}/api/v1/clips/{ids[1]}").status_code == 204
    assert set(service.neighbours(ids[0], k=100, **where)) == set(ids[2:])
    facets = service.get("/clips/facets", by="customer_id,tag").json()["facets"]
    assert facets["tag"] == [{"value": "t", "count": len(ids) - 1}]


def test_import_kill_import(start: Callable[..., Service], postgres_url: str, audio: Path) -> None:
    service = start(EMOSEEK_DATABASE_URL=postgres_url)
    posted = service.store(audio / "sad_voice_c.flac")
    service.stop()
    service.start(EMOSEEK_TEST_KILL="third block of an import")
    npy, table = service.directory / "v.npy", service.directory / "m.csv"
    vectors = write_npy(npy, 9000)
    write_csv(table, ["id", "customer_id"], [[i + 100, f"c{i % 9}"] for i in range(9000)])
    arguments = ("import-vectors", npy, "--meta", table, "--url")
    assert run(*arguments, service.url, cwd=service.directory).returncode == 1
    assert service.stop() == -signal.SIGKILL
    service.start()
    done = run(*arguments, service.url, cwd=service.directory)
    assert done.returncode == 0, done.stderr
    assert service.get("/status").json()["index"]["size"] == 9001
    found = service.http.post(
        f"{service.url}/api/v1/search?k=1", json={"vector": vectors[8999].tolist()}
    ).json()["neighbours"][0]
    assert (found["clip_id"], found["customer_id"]) == (9099, "c8")
    assert posted < 100
    assert service.store(audio / "calm_voice_a.flac") == 9100
