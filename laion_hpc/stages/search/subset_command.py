"""Write the results of a search, or all rows that fulfil a condition, to a file.

laion-hpc subset results/demo/index --query "a red mushroom" --top 500 --to mushrooms.parquet
                                      the 500 images closest to the words, with all metadata
laion-hpc subset results/demo/index --where "language = 'de' AND width >= 512" --to german.txt
                                      the URLs of all rows that fulfil the condition
laion-hpc subset results/demo/index --images results/demo/filter/* --like 12 --unlike 77 \\
    --where "license LIKE '%/by/%'" --top 1000 --to free.tar
                                      a webdataset: closest to item 12, away from item 77

The search page exports the same rows and shows this command. `--where` is one condition in
DuckDB's SQL on the index's metadata: key, url, caption, similarity, language, language_class,
license, page_url, width, height, nsfw, host and the scores of `tag`, such as punsafe.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import Ledger
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_folders, count

if TYPE_CHECKING:
    from laion_hpc.stages.search.export import Written
    from laion_hpc.stages.search.http.queries import SearchRequest
    from laion_hpc.stages.search.knn.collection import Collection
    from laion_hpc.stages.search.knn.nearest import Hits
    from laion_hpc.stages.search.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `laion-hpc subset`."""
    parser.add_argument("index", type=Path, help="a folder made by `index merge`")
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="PATH",
        help="file to write: .parquet, .txt (URLs) or .tar (webdataset)",
    )
    parser.add_argument("--where", default="", metavar="SQL", help="condition on the metadata")
    parser.add_argument("--query", default="", metavar="TEXT", help="closest to these words")
    parser.add_argument("--image", type=Path, metavar="FILE", help="closest to this image")
    parser.add_argument(
        "--like",
        type=int,
        nargs="+",
        default=[],
        metavar="ID",
        help="closest to these items of the index",
    )
    parser.add_argument(
        "--unlike", type=int, nargs="+", default=[], metavar="ID", help="and away from these"
    )
    parser.add_argument(
        "--top",
        type=count,
        metavar="N",
        help="rows: the closest, or without a query a random sample",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of that sample (0)")
    parser.add_argument(
        "--unsafe", action="store_true", help="also images that are likely unsafe, or have no score"
    )
    parser.add_argument("--unique", action="store_true", help="leave near-duplicates out")
    add_folders(parser, "--images", meaning="folders of shards, for a tar")
    add_folders(
        parser,
        "--embeddings",
        meaning="folders made by `embed`, to rank by; default: the index's codes",
    )
    add_config(parser)
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the model (auto)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the file and its ledger; exit code 0."""
    from laion_hpc.config import load
    from laion_hpc.models import load as load_model
    from laion_hpc.stages.search.export import FORMATS
    from laion_hpc.stages.search.knn.collection import Collection
    from laion_hpc.stages.search.service import Service
    from laion_hpc.stages.search.thumbnails import Thumbnails

    kind = options.to.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"--to {options.to}: the name ends in .parquet, .txt or .tar")
    request = _request(options)
    if request.asks and options.top is None:
        raise UsageError("give the number of rows with --top")
    if kind == "tar" and not options.images:
        raise UsageError("--to …tar: give the folders of shards with --images")
    config = load(options.config)
    collection = Collection(options.index, "subset", options.embeddings)
    service = Service(
        {"subset": collection},
        config.search,
        load=lambda model: load_model(model, device=options.device),
        images=Thumbnails(options.images) if options.images else None,
        ahead=False,
    )
    try:
        return _write(options, kind, service, collection, request)
    finally:
        service.close()


def _write(
    options: argparse.Namespace,
    kind: str,
    service: Service,
    collection: Collection,
    request: SearchRequest,
) -> int:
    from laion_hpc.stages.search import export
    from laion_hpc.stages.search.faults import RequestError

    where = _conditions(options.where, collection)
    try:
        hits = asyncio.run(service.found(collection, request, options.top, where=where))
    except RequestError as error:
        raise LaionHpcError(str(error)) from None
    with atomic(options.to) as aside:
        written = export.write(aside, kind, collection, hits, service.images)
    _ledger(options, request, hits, written).write(ledger.path_of(options.to))
    left = "".join(f", {count} left out ({reason})" for reason, count in written.dropped.items())
    console.say(f"{options.to}: {written.kept:,} rows{left}")
    return 0


def _request(options: argparse.Namespace) -> SearchRequest:
    from laion_hpc.stages.search.faults import RequestError
    from laion_hpc.stages.search.http.queries import SearchRequest, parts_of

    try:
        image = base64.b64encode(options.image.read_bytes()).decode() if options.image else ""
    except OSError as error:
        raise InputError(f"--image {options.image}: not readable ({error.strerror})") from None
    try:
        return SearchRequest(
            text=options.query,
            image=image,
            parts=parts_of(options.like, options.unlike),
            safe=not options.unsafe,
            deduplicate=options.unique,
            seed=options.seed,
        )
    except RequestError as error:
        raise UsageError(str(error)) from None


def _conditions(where: str, collection: Collection) -> list[Any]:
    from laion_hpc.stages.search.knn.predicate import Predicate

    return [Predicate(where, collection.table.schema)] if where.strip() else []


def _ledger(
    options: argparse.Namespace, request: SearchRequest, hits: Hits, written: Written
) -> Ledger:
    asked = {
        "where": options.where,
        "query": options.query,
        "image": options.image.name if options.image else "",
        "like": options.like,
        "unlike": options.unlike,
        "top": options.top or 0,
        "safe": request.safe,
        "unique": request.deduplicate,
        "seed": options.seed,
    }
    return Ledger(
        stage="search",
        unit="samples",
        inputs=len(hits.ids),
        kept=written.kept,
        dropped=written.dropped,
        source=ledger.fingerprint("subset", options.index / "index.json"),
        counts={"asked": asked},
        files=(ledger.describe(options.to, rows=written.kept),),
    )
