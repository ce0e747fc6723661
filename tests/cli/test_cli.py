"""The `emoseek` command as a user runs it: a process, its output, its exit status."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import requests
import soundfile

from app.cli.poster import Poster
from app.domain import LABELS
from app.errors import Unavailable
from tests.service import Service


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EMOSEEK_")}
    return subprocess.run(
        [Path(sys.executable).with_name("emoseek"), *map(str, arguments)],
        cwd=cwd,
        env=inherited | {"EMOSEEK_MODEL": "bundled"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def voices(audio: Path, directory: Path) -> list[Path]:
    """Copies of the synthesised voices, in two levels of directories."""
    (directory / "deep" / "er").mkdir(parents=True)
    for number, path in enumerate(sorted(audio.glob("*_voice_*.flac"))):
        shutil.copy(path, directory / ("deep/er" if number % 2 else "") / path.name)
    return sorted(directory.rglob("*.flac"))


def test_recognise_prints_a_table(tmp_path: Path, audio: Path) -> None:
    done = run("recognise", audio / "calm_voice_a.flac", audio / "sad_voice_c.flac", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert "emoseek/bundled" in first
    assert [line.split()[0] in LABELS for line in lines] == [True, True]
    assert list(tmp_path.iterdir()) == []


def test_recognise_prints_json_and_tells_what_failed(tmp_path: Path, audio: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    done = run("recognise", "--json", bad, audio / "calm_voice_a.flac", "none", cwd=tmp_path)
    assert done.returncode == 1
    failed, heard, missing = (json.loads(line) for line in done.stdout.splitlines())
    assert (failed["success"], missing["success"], heard["success"]) == (False, False, True)
    assert set(heard["scores"]) == set(LABELS)
    assert str(bad) in done.stderr
    assert "Traceback" not in done.stderr


def test_recognise_takes_minutes(tmp_path: Path, audio: Path) -> None:
    voice, rate = soundfile.read(audio / "calm_voice_a.flac", dtype="int16")
    soundfile.write(tmp_path / "call.flac", np.tile(voice, 1 + 80 * rate // len(voice)), rate)
    done = run("recognise", "--json", "call.flac", cwd=tmp_path)
    heard = json.loads(done.stdout)
    ends = [segment["end"] for segment in heard["segments"]]
    assert len(ends) > 2
    assert [segment["start"] for segment in heard["segments"]] == [0.0, *ends[:-1]]
    assert ends[-1] == soundfile.info(tmp_path / "call.flac").duration


def test_ingest_twice_stores_once(start: Callable[..., Service], audio: Path) -> None:
    service = start()
    folder = service.directory / "calls"
    files = voices(audio, folder)
    (folder / "notes.txt").write_text("not a recording")
    table = folder / "calls.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "speaker", "tags", "mood"])
        for number, path in enumerate(files):
            name = path.relative_to(folder).as_posix()
            writer.writerow([name, f"s{number % 2}", "a; b", path.name.split("_")[0]])
    arguments = ("ingest", folder, "--url", service.url, "--metadata", table)
    arguments += ("--column", "customer_id=speaker")
    first = run(*arguments, cwd=service.directory)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == f"{len(files)} stored, 0 already stored, 0 failed"
    again = run(*arguments, cwd=service.directory)
    assert again.stdout.strip() == f"0 stored, {len(files)} already stored, 0 failed"
    clips = service.get("/clips").json()["clips"]
    assert len(clips) == len(files)
    assert {clip["metadata"]["source_path"] for clip in clips} == {
        path.relative_to(folder).as_posix() for path in files
    }
    assert all(clip["tags"] == ["a", "b"] for clip in clips)
    assert service.get("/clips/count", customer_id="s1").json()["count"] == len(files) // 2
    assert service.get("/clips/count", **{"meta.mood": "calm"}).json()["count"] == 2


def test_ingest_notices_and_mends_other_fields(start: Callable[..., Service], audio: Path) -> None:
    service = start()
    folder = service.directory / "calls"
    files = voices(audio, folder)
    table = folder / "calls.csv"
    lines = [f"{p.relative_to(folder).as_posix()},anna,2024-05-01T12:00:00+02:00" for p in files]
    table.write_text("\n".join(["file,speaker,recorded_at", *lines]))
    arguments = ("ingest", folder, "--url", service.url)
    refused = run(*arguments, "--column", "customer_id=speaker", cwd=service.directory)
    assert refused.returncode == 1
    assert "--metadata" in refused.stderr
    assert run(*arguments, cwd=service.directory).returncode == 0
    arguments += ("--metadata", table, "--column", "customer_id=speaker")
    told = run(*arguments, cwd=service.directory)
    assert f"{len(files)} stored with other fields" in told.stdout
    assert "--update" in told.stderr
    assert service.get("/clips/count", customer_id="anna").json() == {"count": 0}
    mended = run(*arguments, "--update", cwd=service.directory)
    assert f"{len(files)} updated" in mended.stdout
    assert service.get("/clips/count", customer_id="anna").json() == {"count": len(files)}
    again = run(*arguments, cwd=service.directory)
    assert f"{len(files)} already stored" in again.stdout
    # What the CSV does not speak of stays.
    more = {"tags": ["B", "a"], "agent_id": "x", "metadata": {"note": "n", "source_path": "p"}}
    clip = service.get("/clips", limit=1).json()["clips"][0]
    more["metadata"] = clip["metadata"] | {"note": "n"}
    requests.patch(f"{service.url}/api/v1/clips/{clip['clip_id']}", json=more)
    last = run(*arguments, "--update", cwd=service.directory)
    assert f"{len(files)} already stored" in last.stdout
    assert service.get(f"/clips/{clip['clip_id']}").json()["agent_id"] == "x"


def test_ingest_gives_up_when_the_service_is_gone(
    start: Callable[..., Service], audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    service.stop()
    monkeypatch.setattr("app.cli.poster.GIVE_UP_SECONDS", 1.5)
    with httpx.Client(base_url=service.url) as client:
        poster = Poster(client, update=False)
        with pytest.raises(Unavailable, match="stopped answering"):
            poster.post(audio / "calm_voice_a.flac", "a", {})
        assert poster.post(audio / "calm_voice_a.flac", "b", {}) == "not tried"


def test_ingest_of_nothing(tmp_path: Path) -> None:
    done = run("ingest", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "no recordings" in done.stderr


def test_ingest_tells_failures(start: Callable[..., Service], audio: Path) -> None:
    service = start()
    folder = service.directory / "calls"
    files = voices(audio, folder)
    (folder / "bad.wav").write_text("no audio")
    done = run("ingest", folder, "--url", service.url, cwd=service.directory)
    assert done.returncode == 1
    assert done.stdout.strip() == f"{len(files)} stored, 0 already stored, 1 failed"
    assert "bad.wav: " in done.stderr


def test_ingest_stopped_and_run_again_stores_once(
    start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    folder = service.directory / "calls"
    folder.mkdir()
    for number in range(300):
        content = (audio / "calm_voice_a.flac").read_bytes()
        (folder / f"{number:03}.flac").write_bytes(content)
    command = [Path(sys.executable).with_name("emoseek"), "ingest", folder, "--url", service.url]
    ingest = subprocess.Popen([*command, "--parallel", "1"], stdout=subprocess.PIPE, text=True)
    while service.get("/clips/count").json()["count"] < 5:
        time.sleep(0.01)
    ingest.send_signal(signal.SIGTERM)  # a SIGINT is ignored below a shell in the background
    output, _ = ingest.communicate(timeout=60)
    assert ingest.returncode == 1
    assert "not tried" in output
    done = run("ingest", folder, "--url", service.url, cwd=service.directory)
    assert done.returncode == 0, done.stderr
    # Files of the same content are so many recordings; none is stored twice.
    assert service.get("/clips/count").json() == {"count": 300}


def test_ingest_waits_while_the_queue_is_full(start: Callable[..., Service], audio: Path) -> None:
    service = start(EMOSEEK_MAX_CONCURRENCY="1", EMOSEEK_QUEUE_LENGTH="0")
    folder = service.directory / "calls"
    files = voices(audio, folder)
    done = run("ingest", folder, "--parallel", "8", "--url", service.url, cwd=service.directory)
    assert done.returncode == 0, done.stderr
    assert service.get("/clips/count").json() == {"count": len(files)}


def test_a_csv_without_the_column(service: Service, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file\na.wav\n")
    (tmp_path / "a.wav").touch()
    for column in ("customer_id=speaker", "speaker", "nothing=file"):
        done = run(
            *("ingest", tmp_path, "--metadata", table, "--column", column, "--url", service.url),
            cwd=tmp_path,
        )
        assert done.returncode == 1
        assert "--metadata" in done.stderr or "--column" in done.stderr


def test_similar(service: Service, tmp_path: Path, audio: Path) -> None:
    first = service.store(audio / "calm_voice_a.flac")
    second = service.store(audio / "calm_voice_a.mp3")
    done = run("similar", str(first), "-k", "1000", "--url", service.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(second) in [line.split()[0] for line in done.stdout.splitlines()]
    as_json = run("similar", str(first), "--json", "--url", service.url, cwd=tmp_path)
    assert json.loads(as_json.stdout)["clip_id"] == first
    none = run("similar", "999999", "--url", service.url, cwd=tmp_path)
    assert none.returncode == 1
    assert "There is no clip 999999." in none.stderr


def test_no_service_answers(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    for arguments in (("similar", "1"), ("ingest", str(tmp_path))):
        done = run(*arguments, "--url", "http://127.0.0.1:9", cwd=tmp_path)
        assert done.returncode == 1
        assert "No service answers at http://127.0.0.1:9" in done.stderr


def test_stop_ends_the_owner_of_the_data_directory(start: Callable[..., Service]) -> None:
    service = start()
    done = run("stop", "--data-dir", service.data_dir, cwd=service.directory)
    assert service.process is not None
    assert done.stdout.strip() == f"Stopped process {service.process.pid}."
    assert service.process.wait(timeout=1) in (0, -signal.SIGTERM)
    again = run("stop", cwd=service.directory)
    assert again.stdout.strip() == f"No service owns {service.data_dir}."


def test_a_model_that_cannot_be_had_stops_the_start(tmp_path: Path) -> None:
    done = run(
        *("serve", "--port", "0", "--model", "iic/emotion2vec_plus_large"),
        cwd=tmp_path,
        MODELSCOPE_CACHE=str(tmp_path / "cache"),
        MODELSCOPE_ENDPOINT="http://127.0.0.1:9",
    )
    assert done.returncode == 1
    assert "iic/emotion2vec_plus_large" in done.stderr.splitlines()[-1]


def test_a_setting_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    done = run("serve", cwd=tmp_path, EMOSEEK_MAX_SECONDS="-1")
    assert done.returncode == 1
    assert "EMOSEEK_MAX_SECONDS" in done.stderr
    open_host = run("serve", "--host", "0.0.0.0", cwd=tmp_path)
    assert open_host.returncode == 1
    assert "EMOSEEK_API_KEY" in open_host.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_model_than_the_stored_clips_is_refused(
    start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    service.store(audio / "calm_voice_a.flac")
    service.stop()
    done = run("serve", "--port", "0", cwd=service.directory, EMOSEEK_DTYPE="bf16")
    assert done.returncode == 1
    assert "EMOSEEK_ALLOW_MODEL_CHANGE" in done.stderr.splitlines()[-1]
    service.start(EMOSEEK_DTYPE="bf16", EMOSEEK_ALLOW_MODEL_CHANGE="true")
    answer = service.get("/clips/1/similar")
    assert (answer.status_code, answer.json()["type"]) == (409, "not-indexed")
    second = service.store(audio / "calm_voice_a.flac")
    assert service.neighbours(second) == []


def test_the_service_answers_503_while_it_starts(start: Callable[..., Service]) -> None:
    service = start()
    service.stop()
    service.spawn()
    seen = set()
    give_up = time.monotonic() + 60
    while True:
        assert time.monotonic() < give_up
        try:
            answer = requests.get(f"{service.url}/api/v1/status")
        except requests.ConnectionError:
            continue
        seen.add(answer.status_code)
        if answer.ok:
            break
        assert answer.headers["Retry-After"]
        assert requests.get(f"{service.url}/healthz").ok
    assert seen == {200, 503}


@pytest.mark.parametrize("command", ["serve", "stop", "recognise", "ingest", "similar"])
def test_help(tmp_path: Path, command: str) -> None:
    assert run(command, "--help", cwd=tmp_path).returncode == 0


def test_a_service_that_is_still_starting_can_be_stopped(start: Callable[..., Service]) -> None:
    service = start()
    service.stop()
    service.spawn()
    assert service.process is not None
    give_up = time.monotonic() + 60
    while str(service.process.pid) not in (service.data_dir / "emoseek.lock").read_text():
        assert time.monotonic() < give_up
    done = run("stop", cwd=service.directory)
    assert done.stdout.strip() == f"Stopped process {service.process.pid}."
    assert service.stop() in (0, -signal.SIGTERM)
    assert service.start().get("/status").ok
