"""Keep the pairs of a downloaded block whose image and text CLIP finds alike.

laion-hpc filter results/CRAWL/download/0007 --output results/CRAWL/filter/0007
laion-hpc filter DOWNLOADED --output FILTERED --config config/my.yaml --processes 4

Writes scores/SHARD.parquet with the similarity and outcome of every downloaded sample, full shards
NNNNN.tar + NNNNN.parquet of the kept ones, and manifest.json last. After a threshold
changes, run it again: it uses the stored scores and needs no model and no GPU.

With `keep.candidate_images: false` it first verifies all that it wrote, then removes the tars of
DOWNLOADED and lists them in DOWNLOADED/removed.json. Higher thresholds then use the shards kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="block folder of `download`")
    parser.add_argument("--output", type=Path, required=True, help="block folder to write")
    add_config(parser)
    add_processes(parser)
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="only apply thresholds to stored scores; fail if there are none",
    )


def run(options: argparse.Namespace) -> int:
    from laion_hpc import config as settings
    from laion_hpc.files import ledger
    from laion_hpc.models import feeding

    config = settings.load(options.config)
    with feeding.team(options.processes, config.filter.device) as team:
        if not team.leads:
            return 0
        ledger.expect(options.folder, "download")
        from laion_hpc.stages.filter.block import filter_block, remove_candidates

        done = filter_block(
            options.folder,
            options.output,
            config,
            team,
            config_file=options.config,
            rescore=options.rescore,
        )
    console.say(f"{options.output}: kept {done.kept} of {done.inputs} samples")
    if not config.keep.candidate_images:
        freed = remove_candidates(options.folder, options.output)
        console.say(f"{options.folder}: removed candidate images, {freed} bytes")
    return 0
