"""A kNN index over the embeddings of a crawl: trained once, filled by block, merged on disk.

laion-hpc index train results/demo/embed/* --output results/demo/index/trained.index
                                      on a seeded sample over all blocks
laion-hpc index add results/demo/index/trained.index results/demo/embed/0007 --block 7 \\
    --output results/demo/index/blocks/0007.index
laion-hpc index metadata results/demo/embed/0007 results/demo/tag/0007.parquet --block 7 \\
    --output results/demo/index/metadata/0007.arrow
                                      what `search` shows of each vector
laion-hpc index merge results/demo/index/trained.index results/demo/index/blocks/*.index \\
    --output results/demo/index       image.index, image.ivfdata, index.json, manifest.json
laion-hpc index evaluate results/demo/index results/demo/embed/* \\
    --output results/demo/index/evaluation.json
                                      recall against exact search, as a table and evaluation.svg;
                                      chooses nprobe for `search`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_block, add_config, add_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="train on a sample over all blocks")
    train.add_argument("embeddings", type=Path, nargs="+", help="folders that `embed` made")
    train.add_argument(
        "--modality",
        choices=("image", "text"),
        default="image",
        help="embeddings to index (image)",
    )
    add = actions.add_parser("add", help="add one block to the trained index")
    add.add_argument("trained", type=Path, help="file that `index train` made")
    add.add_argument("embeddings", type=Path, help="folder that `embed` made of the block")
    metadata = actions.add_parser("metadata", help="lay out one block's metadata for search")
    metadata.add_argument("embeddings", type=Path, help="folder that `embed` made of the block")
    metadata.add_argument("tags", type=Path, help="table that `tag` made of the block")
    for action in (add, metadata):
        add_block(action)
    merge = actions.add_parser("merge", help="merge the blocks into one index on disk")
    merge.add_argument("trained", type=Path, help="file that `index train` made")
    merge.add_argument("blocks", type=Path, nargs="+", help="files that `index add` made")
    evaluate = actions.add_parser("evaluate", help="measure recall, choose search parameters")
    evaluate.add_argument("index", type=Path, help="folder that `index merge` made")
    evaluate.add_argument("embeddings", type=Path, nargs="+", help="folders of all blocks")
    for action in (train, add, metadata, merge, evaluate):
        action.add_argument("--output", type=Path, required=True, help="what to write")
        add_config(action)
        add_processes(action, meaning="threads to use")


def run(options: argparse.Namespace) -> int:
    {
        "train": _train,
        "add": _add,
        "metadata": _metadata,
        "merge": _merge,
        "evaluate": _evaluate,
    }[options.action](options)
    return 0


def _train(options: argparse.Namespace) -> None:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.index.train import train

    config = load(options.config)
    book = train(
        options.embeddings,
        options.output,
        config=config.index,
        digest=digest(config, "index"),
        seed=config.dataset.seed,
        threads=options.processes,
        modality=options.modality,
    )
    _say(f"{book.about['key']}, trained on {book.counts['trained_on']:,} of {book.inputs:,}")


def _add(options: argparse.Namespace) -> None:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.index.add import add

    book = add(
        options.trained,
        options.embeddings,
        options.output,
        block=options.block,
        digest=digest(load(options.config), "index"),
        threads=options.processes,
    )
    _say(f"{book.kept:,} vectors in {options.output}")


def _metadata(options: argparse.Namespace) -> None:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.index.metadata import lay_out

    book = lay_out(
        options.embeddings,
        options.tags,
        options.output,
        block=options.block,
        digest=digest(load(options.config), "index"),
    )
    _say(f"{book.kept:,} rows in {options.output}")


def _merge(options: argparse.Namespace) -> None:
    from laion_hpc.config import digest, load
    from laion_hpc.stages.index.merge import merge

    config = load(options.config)
    book = merge(
        options.trained,
        options.blocks,
        options.output,
        model=config.embed.model,
        digest=digest(config, "index"),
    )
    _say(f"{book.kept:,} vectors of {book.counts['blocks']} blocks in {options.output}")


def _evaluate(options: argparse.Namespace) -> None:
    from laion_hpc.config import load
    from laion_hpc.stages.index.evaluate import evaluate, stats_of

    config = load(options.config)
    result = evaluate(
        options.index,
        options.embeddings,
        options.output,
        config=config.index,
        seed=config.dataset.seed,
        threads=options.processes,
    )
    heads = {kind: f"{kind}→{result['modality']} @1, @10, @100" for kind in result["queries"]}
    _say("  ".join(["nprobe", *heads.values(), " p50 ms"]))
    times = json.loads(stats_of(options.output).read_bytes())["latency"]
    for row, time in zip(result["recall"], times, strict=True):
        mark = "  ← stored" if row["nprobe"] == result["nprobe"] else ""
        columns = [f"{row['nprobe']:6}"]
        for kind, head in heads.items():
            recalls = " ".join(f"{value:.4f}" for value in row[kind].values())
            columns.append(f"{recalls:>{len(head)}}")
        columns.append(f"{time.get('p50_ms', 0.0):7.2f}")
        _say("  ".join(columns) + mark)
    if not result["target_reached"]:
        _say(
            f"{result['key']} does not reach recall@10 of {result['target_recall']}: "
            "raise index.max_bytes, or lower index.target_recall"
        )


def _say(message: str) -> None:
    console.say(f"index: {message}")
