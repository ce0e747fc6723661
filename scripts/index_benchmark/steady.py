"""The service over HTTP: from start to ready, at a steady load, at its peak, through filters."""

from __future__ import annotations

from app.domain import LABELS
from scripts.index_benchmark.compare import CLIENTS, RECALL, Options
from scripts.index_benchmark.dataset import Dataset, recall
from scripts.index_benchmark.filters import over_http
from scripts.index_benchmark.measure import Memory, Times, closed_loop, machine, open_loop, table
from scripts.index_benchmark.ours import OursOverHttp


def service(data: Dataset, told: Options, rate: float) -> None:
    """Print what `GET similar` takes, and what the service does to answer it."""
    print(machine() + "\n", flush=True)
    engine = OursOverHttp(told.data, told.model)
    engine.build(data)
    try:
        running = engine.service
        size = len(data.base)
        print(f"{size:,} clips, index {running.kind}")
        if running.filled is not None:
            print(f"database written in {running.filled:.1f} s")
        print(
            f"start without a snapshot to the index in its final form: {running.rebuilt:.1f} s "
            f"({size / running.rebuilt:,.0f} clips/s, the model's loading included)\n"
            f"start from the snapshot to ready: {running.started:.2f} s"
        )
        requests, truth = engine.questions()
        ask = engine.client()
        found = recall([engine.rows(ask(request)) for request in requests], truth)
        print(f"recall@10 {found:.4f}{'' if found >= RECALL else ' (too low)'}\n", flush=True)
        asking = f"/api/v1/clips/1/similar?emotion={LABELS[0]}"
        running.running.client.get(asking).raise_for_status()  # when filters have been read
        steady = open_loop(
            engine.client, requests, clients=CLIENTS, rate=rate, seconds=told.seconds
        )
        peak = closed_loop(engine.client, requests, clients=CLIENTS, seconds=told.seconds)
        alone = closed_loop(engine.client, requests, clients=1, seconds=told.seconds)
        rows = [
            _row(f"{rate:g} a second, from when each was due", steady),
            _row(f"{CLIENTS} clients without a pause", peak),
            _row("one client without a pause", alone),
        ]
        print(table(("similar", "answers/s", "p50", "p99", "longest"), rows))
        memory = Memory.of(engine.processes())
        print(f"\nRssAnon {memory.anonymous:,.0f} MB, Rss {memory.resident:,.0f} MB\n", flush=True)
        print(over_http(data, running, told.seconds))
    finally:
        engine.close()


def _row(title: str, times: Times) -> list[str]:
    milliseconds = (times.percentile(q) for q in (50, 99, 100))
    return [title, f"{times.rate:,.0f}", *(f"{one:.2f} ms" for one in milliseconds)]
