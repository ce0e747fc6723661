"""What the service keeps of its encoder's speed when many clients post at once.

    python -m scripts.bench_throughput [--size base] [--clients 32] [--rounds 2]

The same clips (EmoDB where it is present) through the encoder alone, in a process of its own with
the service's batches and threads, and over HTTP from so many clients to `emoseek serve`,
where each is decoded, stored with its files and indexed; in turn, A B A B. The clients are a third
process on the same machine. CPU time is that of the whole process, over its clips; the encoder's
threads in the service are all of the encoder where it has one thread (--size bundled).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import soundfile

from app.domain import SAMPLE_RATE
from app.recogniser.model_dir import BUNDLED
from scripts.bench_recognise import ROOT, clips, make_model
from scripts.bench_service import Running

BOUNDARY = "emoseek-bench"
HEAD = (
    f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=audio_file; filename=a.flac\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="base", choices=["bundled", "base", "large"])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    bodies = [flac(waveform) for waveform in clips(options.clips)]
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        model = BUNDLED if options.size == "bundled" else make_model(top / "model", options.size)
        print(f"{len(bodies)} clips, {options.clients} clients, {options.size} size")
        for number in range(options.rounds):
            alone, alone_cpu = encoder_alone(model, top, options.clips)
            data = top / f"service-{number}"
            data.mkdir()
            served, served_cpu, encoder_cpu = over_http(data, model, bodies, options.clients)
            print(
                f"encoder alone {alone:.1f} clips/s, service {served:.1f} clips/s = "
                f"{served / alone:.1%}; CPU a clip: encoder alone {alone_cpu * 1e3:.1f} ms, "
                f"service {served_cpu * 1e3:.1f} ms, of it its encoder's threads "
                f"{encoder_cpu * 1e3:.1f} ms",
                flush=True,
            )


def flac(waveform: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return HEAD + file.getvalue() + TAIL


def encoder_alone(model: Path, top: Path, most: int | None) -> tuple[float, float]:
    """Clips a second, and seconds of CPU a clip."""
    threads = str(len(os.sched_getaffinity(0)))
    kind = "fp32" if model == BUNDLED else "auto"
    command = [sys.executable, "-m", "scripts.bench_recognise_one", kind, str(model)]
    command += [str(top / "alone.npz"), "cpu", threads, str(most or 0)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    found = json.loads(answer.stdout.splitlines()[-1])
    return found["clips"] / found["seconds"], found["cpu_seconds"] / found["clips"]


def over_http(
    directory: Path, model: Path, bodies: list[bytes], clients: int
) -> tuple[float, float, float]:
    """Clips a second, and seconds of CPU a clip: of the service, and of its encoder's threads."""
    service = Running(directory, str(model))
    local = threading.local()

    def post(body: bytes) -> int:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(
                service.client.base_url.host, service.client.base_url.port
            )
        local.connection.request(
            "POST",
            "/api/v1/emotion/recognize",
            body,
            {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        answer = local.connection.getresponse()
        stored = json.loads(answer.read())
        if not stored.get("indexed"):
            raise SystemExit(f"not stored and indexed: {stored}")
        clip_id: int = stored["clip_id"]
        return clip_id

    try:
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(post, bodies[:clients]))  # connections, threads, memory
            cpu, encoder = cpu_seconds(service.process.pid), encoder_seconds(service)
            started = time.perf_counter()
            ids = list(pool.map(post, bodies))
            seconds = time.perf_counter() - started
            cpu = cpu_seconds(service.process.pid) - cpu
            encoder = encoder_seconds(service) - encoder
        if len(set(ids)) != len(bodies):
            raise SystemExit("clips were lost")
        return len(bodies) / seconds, cpu / len(bodies), encoder / len(bodies)
    finally:
        service.stop()


def encoder_seconds(service: Running) -> float:
    found: float = service.client.get("/api/v1/status").json()["batching"]["cpu_seconds"]
    return found


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
