"""Scores per sample from heads on the embeddings of a block, and LAION's join key.

laion-hpc tag results/CRAWL/embed/0007 --output results/CRAWL/tag/0007.parquet
laion-hpc tag EMBEDDED --output tags.parquet --config config/my.yaml --processes 4
laion-hpc tag EMBEDDED --images FILTERED --output tags.parquet    with heads that read images

Writes one row per embedding, in their order: key, hash, a column per head of `tag.heads`
(punsafe, pwatermark, aesthetic …) and the class nsfw; then the ledger beside it. It refuses a head
of another model than that of the embeddings. docs/heads.md tells how to get and make heads.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="block folder of `embed`")
    parser.add_argument("--output", type=Path, required=True, help="parquet file to write")
    parser.add_argument(
        "--images", type=Path, help="block folder of `filter`, for heads that read images"
    )
    add_config(parser)
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    # Processes share the shards. The number of threads inside a matrix product changes its last
    # bits, and Snakemake sets it in the environment to the rule's threads.
    for library in ("OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    from laion_hpc import config as settings
    from laion_hpc.errors import UsageError
    from laion_hpc.files import ledger
    from laion_hpc.runtime import work

    if options.output.suffix != ".parquet":
        raise UsageError(f"--output {options.output}: name a .parquet file")
    config = settings.load(options.config)
    with work.team(options.processes) as team:
        if not team.leads:
            return 0
        ledger.expect(options.folder, "embed")
        from laion_hpc.stages.tag.block import tag_block

        done = tag_block(options.folder, options.output, config, team, images=options.images)
    console.say(f"{options.output}: tagged {done.kept} samples")
    return 0
