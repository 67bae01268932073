"""Put one block of all segments in order: no duplicates, hosts mixed, cut into shards.

  laion-hpc shuffle results/CRAWL/extract/*.parquet --block 7 --output 0007.parquet
  laion-hpc shuffle links.parquet --block 0 --crawl mine --output 0000.parquet \\
      --seen-before first-crawl/0000.seen --seen-after 0000.seen

Of links that are the same (shuffle.deduplicate_by) the one with the longest text stays, then the
earliest by segment, WAT, record and link. Row group s of the output is shard s: a fair sample of
all hosts, with the links of a host as far apart as can be. --seen-after writes a Bloom filter of
what was kept, for --seen-before of a later crawl. The ledger beside the output says what was
dropped and why. A block of 50 million links needs less than 4 GB of memory.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.errors import UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_block, add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="+", type=Path, metavar="FILE.parquet", help="of extract")
    add_block(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.parquet")
    parser.add_argument("--crawl", default="", metavar="NAME", help="default: the crawl column")
    parser.add_argument(
        "--seen-before", action="append", default=[], type=Path, metavar="FILE.seen"
    )
    parser.add_argument("--seen-after", type=Path, metavar="FILE.seen")
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    config = settings.load(options.config)
    if options.output.suffix != ".parquet":
        raise UsageError(f"--output {options.output}: must end in .parquet")
    if any(c in "./\\ " for c in options.crawl):
        raise UsageError(f"--crawl {options.crawl!r}: may not hold dots, slashes or spaces")

    from laion_hpc.stages.shuffle.job import BlockJob
    from laion_hpc.stages.shuffle.job import run as shuffle

    done = shuffle(
        BlockJob(
            parts=tuple(options.parts),
            block=options.block,
            output=options.output,
            crawl=options.crawl,
            seen_before=tuple(options.seen_before),
            seen_after=options.seen_after,
            config=config,
        )
    )
    console.say(
        f"{options.output}: {done.kept} of {done.inputs} links kept, from {done.counts['hosts']} "
        f"hosts, in {done.counts['shards']} shards"
    )
    return 0
