"""The page as its visitors wait for it, and what it costs a service that nobody looks at.

    python -m scripts.bench_page [tabs] [map] [start] [latency]

All parts unless some are named. `tabs`: from the click on a tab until it can be used, with
10,000 clips, in a window without a cache and once more. `map`: 100,000 clips drawn, zoomed,
dragged and pointed at. `start`: from the start of the process to /healthz, with the page and
without it. `latency`: searches and /healthz with the page and without it.

A place is usable when its content is there, nothing that it has asked for is awaited, and the
main thread has drawn a frame after that. Long tasks are those of more than 50 ms, in which the
main thread answers nobody. It drives the system's Chromium by Playwright (the extra `dev`), which
runs on this machine beside the service. Everything is in a temporary directory.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

from scripts.index_benchmark.measure import machine
from scripts.page_benchmark import clip_map, serving, tabs

PARTS = {
    "tabs": tabs.measure,
    "map": clip_map.measure,
    "start": serving.start,
    "latency": serving.latency,
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    told = parser.parse_args(words)
    if unknown := set(told.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is left running
    print(machine("bench_page"), flush=True)
    for part in told.parts or PARTS:
        print(f"\n## {part}\n", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
