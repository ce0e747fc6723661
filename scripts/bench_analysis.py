"""The methods of analysis, measured.

python -m scripts.bench_analysis duplicates [--emodb DIR]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.analysis_benchmark import duplicates


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    for part in (duplicates,):
        part.add_to(parts)
    told = parser.parse_args(words)
    told.measure(told)


if __name__ == "__main__":
    main()
