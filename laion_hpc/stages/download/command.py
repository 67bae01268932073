"""Download the images of a list of URLs into tar shards that webdataset reads.

The input is a parquet of `laion-hpc shuffle`, or any parquet with a column of URLs and,
perhaps, one of captions. Every row ends up in a shard's parquet with its outcome; the images that
came through are in the tar beside it, in the order of the input.

  laion-hpc download results/CC-MAIN-2022-05/shuffle/0007.parquet --output download/0007
  laion-hpc download urls.parquet --output images --config my.yaml --processes 16
  laion-hpc download laion.parquet --output images --url-column URL --text-column TEXT

Run the same command again after a failure or a kill: finished shards are kept. With
--retry-failed those of them are added to in which samples timed out or met a passing error.

Set download.user_agent in the config to a name with a page or address where site owners can reach
you; without one no public server is asked. docs/download.md explains outcomes and manners.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help="parquet with URLs and captions")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder of the shards"
    )
    add_config(parser)
    add_processes(parser, meaning="cores to use")
    parser.add_argument(
        "--url-column", default="", metavar="NAME", help="default: url, URL or image_url"
    )
    parser.add_argument(
        "--text-column",
        default="",
        metavar="NAME",
        help="captions (default: text, caption, TEXT, CAPTION, alt or alt_text; else none)",
    )
    parser.add_argument(
        "--blur-column",
        default="",
        metavar="NAME",
        help="boxes to blur, each [left, top, right, bottom] from 0 to 1",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="in finished shards, ask again for what timed out or met a passing error",
    )
    parser.add_argument(
        "--samples-per-shard",
        type=int,
        metavar="N",
        help="for an input that shuffle did not cut (default: dataset.samples_per_shard)",
    )


def run(options: argparse.Namespace) -> int:
    from laion_hpc import config as settings
    from laion_hpc.errors import UsageError

    config = settings.load(options.config)
    per_shard = options.samples_per_shard
    per_shard = config.dataset.samples_per_shard if per_shard is None else per_shard
    if not 1 <= per_shard <= 100_000:
        raise UsageError(f"--samples-per-shard must be between 1 and 100000, got {per_shard}")
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: is not a folder")

    from laion_hpc.stages.download.inputs import open_source
    from laion_hpc.stages.download.job import download

    source = open_source(
        options.input,
        url_column=options.url_column,
        text_column=options.text_column,
        boxes_column=options.blur_column,
        samples_per_shard=per_shard,
    )
    whole = download(
        source,
        options.output,
        config,
        processes=options.processes,
        retry_failed=options.retry_failed,
    )
    if whole is not None:
        share = whole.kept / whole.inputs if whole.inputs else 0.0
        console.say(f"{options.output}: {whole.kept} of {whole.inputs} images ({share:.1%})")
    return 0
