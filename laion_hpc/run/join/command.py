"""Add LAION's published tags to a dataset, by the join key `hash`.

laion-hpc join laion2B-en/ laion2B-en-safety/ laion2B-en-watermark/ --output joined/
laion-hpc join part-00000.parquet tags.parquet --output joined.parquet --memory 16 --threads 8
laion-hpc join mine/ tags/ --output joined/ --column prediction=punsafe --column aesthetic

The dataset is a parquet file or a folder of them, with LAION's columns (URL, TEXT), ours or
img2dataset's (url, caption or text); a missing `hash` is computed. Tags are files or folders with
a column `hash` and some of punsafe (or prediction, LAION's older name for it), pwatermark and
aesthetic; --column takes others, or other names. All rows stay, in their order and in their files;
one without tags gets nulls. Of tags that say different things of one hash the highest counts.
Works out of core: --memory bounds what is held, the rest goes to --scratch. The ledger beside the
output counts what was matched, duplicates and collisions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.runtime import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("samples", type=Path, help="a .parquet file, or a folder of them")
    parser.add_argument("tags", type=Path, nargs="+", help="files or folders of LAION's tags")
    parser.add_argument("--output", type=Path, required=True, help="a file, or a folder, likewise")
    parser.add_argument(
        "--column", action="append", default=[], metavar="THEIRS[=OURS]",
        help="a column of the tags to take (default: those named above)",
    )  # fmt: skip
    parser.add_argument("--memory", type=float, default=4, metavar="GB", help="default: 4")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="default: beside the output")


def run(options: argparse.Namespace) -> int:
    from laion_hpc.errors import UsageError
    from laion_hpc.run.join.job import Resources, join

    if options.threads < 1 or options.memory < 0.1:
        raise UsageError("--threads must be at least 1, --memory at least 0.1 (GB)")
    done = join(
        options.samples,
        options.tags,
        options.output,
        columns=options.column,
        resources=Resources(options.memory, options.threads, options.scratch),
    )
    counts = done.counts
    console.say(
        f"{options.output}: {done.kept:,} rows, {counts['unmatched']:,} of them without any tag"
    )
    for column, number in counts["matched"].items():
        console.say(f"  {column}: {number:,} rows")
    return 0
