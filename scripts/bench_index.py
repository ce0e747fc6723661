"""The index beside its peers, and under filters, adds, deletes and a steady load.

    python -m scripts.bench_index compare --vectors DIR --n 200000
    python -m scripts.bench_index service --vectors DIR
    python -m scripts.bench_index rebuild --vectors DIR
    python -m scripts.bench_index filters --vectors DIR
    python -m scripts.bench_index adds --vectors DIR --seconds 60
    python -m scripts.bench_index deletes --vectors DIR

DIR holds one set of vectors; `shared/bench/make_vectors.py` makes `--n` of them there when there
are none. The peers of `compare` are the extra `bench`, some fifty packages that are better in an
environment of their own: `pip install -c constraints.txt -e '.[cpu,bench]'`. Each engine runs in
a process of its own, and one that is not installed or does not start is named below the table.
`service` is `emoseek serve` on a database of the vectors, which stays in DIR/service. Recall is
measured against brute force in the space that is served, for stored clips never counting the clip
itself. The machine and the command come before each table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.index_benchmark import changes, filters, steady
from scripts.index_benchmark.compare import ENGINES, Options, compare, measure_here
from scripts.index_benchmark.dataset import GENERATOR, Dataset
from scripts.index_benchmark.rebuild import rebuild


def main(words: Sequence[str] | None = None) -> None:
    told = _parser().parse_args(words)
    data_dir = told.data or told.vectors / "service"
    options = Options(told.vectors, told.seconds, data_dir, told.model)
    if told.mode == "engine":
        measure_here(told.name, told.answer, options)
        return
    data = Dataset.at(told.vectors, told.n, told.generator)
    match told.mode:
        case "compare":
            compare(told.engines, options)
        case "service":
            steady.service(data, options, told.rate)
        case "rebuild":
            rebuild(data_dir / "data" / "emoseek.db")
        case "filters":
            filters.in_process(data, told.seconds)
        case "adds":
            changes.adds(data, told.model, told.seconds, told.rate, told.block)
        case "deletes":
            changes.deletes(data, told.model, told.share)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--vectors", type=Path, required=True, metavar="DIR")
    common.add_argument("--n", type=int, help="vectors to make, or that must be there")
    common.add_argument("--generator", type=Path, default=GENERATOR, help="make_vectors.py")
    common.add_argument("--seconds", type=float, default=10.0, help="of each run")
    common.add_argument("--data", type=Path, metavar="DIR", help="the service's (DIR/service)")
    common.add_argument("--model", metavar="DIR", help="of the service (made with random weights)")
    modes = parser.add_subparsers(dest="mode", required=True)
    one = modes.add_parser("compare", parents=[common], help="all engines on the same vectors")
    one.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    one = modes.add_parser("service", parents=[common], help="start, steady load, filters: HTTP")
    one.add_argument("--rate", type=float, default=100.0, help="requests a second")
    modes.add_parser("rebuild", parents=[common], help="from the database that `service` filled")
    modes.add_parser(
        "filters", parents=[common], help="selectivities and queries of all kinds, in process"
    )
    one = modes.add_parser(
        "adds", parents=[common], help="searches beside imports and a rebuild, in process"
    )
    one.add_argument("--rate", type=float, default=500.0, help="vectors a second")
    one.add_argument("--block", type=int, help="rows of an import (as import-vectors has them)")
    one = modes.add_parser("deletes", parents=[common], help="a share deleted, in process")
    one.add_argument("--share", type=float, default=0.3)
    one = modes.add_parser("engine", parents=[common], help="one engine in this process")
    one.add_argument("name", choices=ENGINES)
    one.add_argument("answer", type=Path, help="JSON file to write")
    return parser


if __name__ == "__main__":
    main()
