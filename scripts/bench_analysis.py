"""What the methods of app/analysis find, on EmoDB.

    python -m scripts.bench_analysis classifier MODEL_A MODEL_B

MODEL_A was trained without the speakers 12 13 14 15 16, MODEL_B without 03 08 09 10 11
(scripts/train_bundled.py --exclude-speakers), so that each is measured on voices that it never
heard.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.analysis_benchmark import classifier


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    classifier.add_to(modes)
    told = parser.parse_args(words)
    told.run(told)


if __name__ == "__main__":
    main()
