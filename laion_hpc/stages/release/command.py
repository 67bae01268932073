"""The dataset that people download: parquet in LAION's columns, subsets, statistics, card.

laion-hpc release block results/demo/embed/0007 results/demo/tag/0007.parquet --block 7 \\
    --output results/demo/release      the parts of one block
laion-hpc release images results/demo/filter/0007 results/demo/embed/0007 --block 7 \
    --output results/demo/release      images and embeddings of subsets (`images: true`) and of
                                       LAION-400M's layout (`release.laion400m_layout`)
laion-hpc release gather results/demo/release --output results/demo/release
                                       after all blocks: statistics.json, README.md,
                                       croissant.json, SHA256SUMS, manifest.json
laion-hpc release together results/*/release --output results/release
                                       one release over several crawls: links, no copies

A block's ledger is RELEASE/blocks/0007.ledger.json; the block's counts lie beside it, and `gather`
adds them up. Folders of the release: laion-en, laion-multi and laion-nolang with LAION's columns;
the same with -joined, with all scores and provenance; subsets/NAME for every subset of the config.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from laion_hpc.errors import InputError, UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_block, add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    block = actions.add_parser("block", help="write one block's parts")
    block.add_argument("embeddings", type=Path, help="folder that `embed` made of the block")
    block.add_argument("tags", type=Path, help="table that `tag` made of the block")
    add_block(block)
    block.add_argument("--ledger", type=Path, help="default: OUTPUT/blocks/BLOCK.ledger.json")
    images = actions.add_parser("images", help="cut one block's images into shards of their own")
    images.add_argument("filtered", type=Path, help="folder that `filter` made of the block")
    images.add_argument("embeddings", type=Path, help="folder that `embed` made of the block")
    add_block(images)
    gather = actions.add_parser("gather", help="count and describe the whole release")
    gather.add_argument("release", type=Path, help="folder that the blocks were written to")
    together = actions.add_parser("together", help="one release over those of several crawls")
    together.add_argument("releases", type=Path, nargs="+", help="release folders of the crawls")
    for action in (gather, together):
        action.add_argument(
            "--memory", default="4GB", help="limit of the statistics' working memory (4GB)"
        )
    for action in (block, images, gather, together):
        action.add_argument("--output", type=Path, required=True, help="folder of the release")
        add_config(action)
        add_processes(action, meaning="threads to use")


def run(options: argparse.Namespace) -> int:
    import pyarrow as pa

    pa.set_cpu_count(options.processes)
    actions = {"block": _block, "images": _images, "gather": _gather, "together": _together}
    return actions[options.action](options)


def _block(options: argparse.Namespace) -> int:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.release.block import TableBlock, make_block, summary

    config = load(options.config)
    number: int = options.block
    book = make_block(
        options.embeddings,
        options.tags,
        TableBlock(
            number=number,
            release=options.output,
            ledger=options.ledger or options.output / "blocks" / f"{number:04d}.ledger.json",
            config=config.release,
            digest=digest(config, "release"),
            threads=options.processes,
        ),
    )
    console.say(summary(book, number))
    return 0


def _images(options: argparse.Namespace) -> int:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.release import shards

    config = load(options.config)
    book = shards.make_block(
        shards.ImageBlock(
            number=options.block,
            release=options.output,
            filtered=options.filtered,
            embedded=options.embeddings,
            config=config.release,
            samples_per_shard=config.dataset.samples_per_shard,
            digest=digest(config, "release"),
        )
    )
    console.say(f"images {options.block:04d}: {dict(book.counts['images'])}")
    return 0


def _gather(options: argparse.Namespace) -> int:
    from laion_hpc.config import load
    from laion_hpc.stages.release.gather import gather

    release: Path = options.release
    if not release.is_dir():
        raise InputError(f"{release}: no such folder; run `release block` first")
    if options.output.resolve() != release.resolve():
        raise UsageError("--output must be the folder of the release itself")
    _check_memory(options.memory)
    config = load(options.config)
    book = gather(
        release,
        config,
        # Without a config the number of blocks is unknown.
        blocks=config.dataset.blocks if options.config else None,
        threads=options.processes,
        memory=options.memory,
    )
    console.say(f"release: {book.kept:,} samples in {len(book.files)} files")
    return 0


def _together(options: argparse.Namespace) -> int:
    from laion_hpc.config import load
    from laion_hpc.stages.release.all_crawls import together

    _check_memory(options.memory)
    book = together(
        options.releases,
        options.output,
        load(options.config),
        threads=options.processes,
        memory=options.memory,
    )
    console.say(f"release: {book.kept:,} samples of {len(options.releases)} crawls")
    return 0


def _check_memory(text: str) -> None:
    if not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", text):
        raise UsageError(f"--memory {text}: give a number and a unit, such as 4GB")
