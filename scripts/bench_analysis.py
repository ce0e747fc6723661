"""The methods of analysis, measured.

    python -m scripts.bench_analysis duplicates [--emodb DIR]
    python -m scripts.bench_analysis repeats --models MODEL_A MODEL_B [--emodb DIR]
    python -m scripts.bench_analysis repeats --vectors DIR
    python -m scripts.bench_analysis repeats --library DIR [--clips 100000]
    python -m scripts.bench_analysis clusters --models MODEL_A MODEL_B [--emodb DIR]
    python -m scripts.bench_analysis clusters --vectors DIR
    python -m scripts.bench_analysis classifier MODEL_A MODEL_B
    python -m scripts.bench_analysis drift [--customers 10000]
    python -m scripts.bench_analysis people [--clips 1000000] [--customers 100000]

MODEL_A never heard the speakers that scripts/bench_retrieval.py calls SPEAKERS_A, MODEL_B never
heard SPEAKERS_B (scripts/train_bundled.py --exclude-speakers), so that each is measured on voices
that are new to it. DIR holds the vectors that `shared/bench/make_vectors.py` makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.analysis_benchmark import (
    classifier,
    clusters,
    drifting,
    duplicates,
    people,
    repeats,
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    for part in (duplicates, repeats, clusters, classifier, drifting, people):
        part.add_to(parts)
    told = parser.parse_args(words)
    told.measure(told)


if __name__ == "__main__":
    main()
