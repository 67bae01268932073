"""Embed the images and texts of a filtered block with CLIP.

laion-hpc embed results/CRAWL/filter/0007 --output results/CRAWL/embed/0007
mpiexec -n 4 laion-hpc embed FILTERED --output EMBEDDED --config config/my.yaml   one GPU per rank

Writes img_emb/img_emb_NNNNN.npy and text_emb/text_emb_NNNNN.npy (fp16, rows of norm 1),
metadata/metadata_NNNNN.parquet with the same rows, and manifest.json last. A second run skips
finished shards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="block folder of `filter`")
    parser.add_argument("--output", type=Path, required=True, help="block folder to write")
    add_config(parser)
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    from laion_hpc import config as settings
    from laion_hpc.files import ledger
    from laion_hpc.models import feeding

    config = settings.load(options.config)
    with feeding.team(options.processes, config.embed.device) as team:
        if not team.leads:
            return 0
        ledger.expect(options.folder, "filter")
        from laion_hpc.stages.embed.block import embed_block

        done = embed_block(options.folder, options.output, config, team, config_file=options.config)
    console.say(f"{options.output}: embedded {done.kept} of {done.inputs} samples")
    return 0
