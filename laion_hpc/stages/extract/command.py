"""Read WAT files of Common Crawl; write the image links that have a text as one parquet file.

  laion-hpc extract a.warc.wat.gz b.warc.wat.gz --output links.parquet
  laion-hpc extract https://data.commoncrawl.org/crawl-data/…/x.warc.wat.gz --output x.parquet
  laion-hpc extract s3://commoncrawl/crawl-data/…/x.warc.wat.gz --output x.parquet
  laion-hpc extract --lock config/crawls/CC-MAIN-2022-40-sample.json \\
      --segment 1664030331677.90 --processes 8 --output 1664030331677.90.parquet
  mpiexec -n 64 python -m mpi4py -m laion_hpc extract …    the same over MPI ranks

Row group b of the output holds the links whose URL falls into block b; the ledger beside it says
what became of every image link, and which records or WATs could not be read. A job that was
killed goes on with the WATs that are missing. Each process needs about 1 GB of memory at most.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from laion_hpc import config as settings
from laion_hpc.errors import UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes

_SEGMENT = re.compile(r"/segments/([^/]+)/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wats", nargs="*", metavar="WAT", help="path, http(s) or s3 URL")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.parquet")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="crawl lock that names the WATs")
    parser.add_argument("--segment", default="", metavar="ID", help="segment of the lock")
    parser.add_argument("--crawl", default="", metavar="NAME", help="default: the lock's name")
    parser.add_argument("--blocks", type=int, metavar="N", help="instead of dataset.blocks")
    add_config(parser)
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    config = settings.load(options.config)
    if options.blocks is not None:
        data = config.model_dump()
        data["dataset"]["blocks"] = options.blocks
        config = settings.parse(data, origin="--blocks")
    if options.output.suffix != ".parquet":
        raise UsageError(f"--output {options.output}: must end in .parquet")
    crawl, segment, wats = options.crawl, options.segment, tuple(options.wats)
    if options.lock is not None:
        from laion_hpc.files.crawl_lock import read_lock

        if wats or not segment:
            raise UsageError("--lock names the WATs: give --segment with it, and no WAT")
        lock = read_lock(options.lock)
        wats, crawl = lock.wats(segment), crawl or lock.name
    elif wats and not segment:
        found = {match[1] for match in map(_SEGMENT.search, wats) if match}
        segment = found.pop() if len(found) == 1 else ""

    from laion_hpc.stages.extract.job import SegmentJob
    from laion_hpc.stages.extract.job import run as extract

    done = extract(SegmentJob(wats, options.output, crawl, segment, config), options.processes)
    if done is not None:
        damaged = done.counts["records_damaged"]
        console.say(
            f"{options.output}: {done.kept} of {done.inputs} links kept, "
            f"{done.counts['pages']} pages, {done.counts['wats']} WATs"
            + (f", {damaged} records damaged" if damaged else "")
        )
    return 0
