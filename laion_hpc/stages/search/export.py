"""Writes chosen items to a file: as a table, a list of URLs or a webdataset tar.

The page's export and `laion-hpc subset` both use this: the same items give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.errors import InputError
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.nearest import Hits
from laion_hpc.stages.search.knn.table import plain
from laion_hpc.stages.search.thumbnails import EXTENSIONS, Thumbnails

FORMATS = {
    "parquet": "application/vnd.apache.parquet",
    "txt": "text/plain; charset=utf-8",
    "tar": "application/x-tar",
}
"""File extensions and their media types."""
CHUNK_ROWS = 16_384


@dataclass(frozen=True)
class Written:
    """What became of the items: `kept` rows are in the file."""

    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)


def write(
    path: Path, kind: str, collection: Collection, hits: Hits, images: Thumbnails | None
) -> Written:
    """Write the items in their order. `kind` is one of FORMATS.

    InputError for a tar without shards to read. Reasons of drops: `no_url` (txt) and
    `image_not_at_hand` (tar: no shard holds it).
    """
    if kind == "tar":
        if images is None:
            raise InputError(
                "a webdataset tar needs the shards that hold the images: name their folders "
                "with --images"
            )
        return _write_tar(path, collection, hits, images)
    if kind == "txt":
        return _write_urls(path, collection, hits)
    return _write_table(path, collection, hits)


def tables(collection: Collection, hits: Hits) -> Iterator[pa.Table]:
    """The items' rows: `id`, `score` (cosine with the query; null without one), all metadata."""
    schema = pa.schema(
        [pa.field("id", pa.int64()), pa.field("score", pa.float32()), *collection.table.schema]
    )
    for first in range(0, len(hits.ids), CHUNK_ROWS):
        part = hits[first : first + CHUNK_ROWS]
        score = pa.array(part.scores, pa.float32(), mask=np.isnan(part.scores))
        rows = collection.table.take(part.ids.tolist())
        yield pa.table([pa.array(part.ids), score, *rows.columns], schema=schema)
    if not len(hits.ids):
        yield schema.empty_table()


def _write_table(path: Path, collection: Collection, hits: Hits) -> Written:
    writer = None
    for table in tables(collection, hits):
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        if table.num_rows:
            writer.write_table(table)
    if writer:
        writer.close()
    return Written(len(hits.ids))


def _write_urls(path: Path, collection: Collection, hits: Hits) -> Written:
    kept = 0
    with path.open("wb") as stream:
        for table in tables(collection, hits):
            for url in table["url"].to_pylist():
                # A URL may hold line breaks; here it is one line.
                line = "".join(url.split())
                if line:
                    stream.write(f"{line}\n".encode("utf-8", "replace"))
                    kept += 1
    return _balanced(len(hits.ids), kept, "no_url")


def _write_tar(path: Path, collection: Collection, hits: Hits, images: Thumbnails) -> Written:
    kept = 0
    with ShardWriter(path) as shard:
        for table in tables(collection, hits):
            for row in table.to_pylist():
                found = images.get(row["key"])
                if found is None:
                    continue
                data, media_type = found
                about = json.dumps(_json_row(row), ensure_ascii=False, sort_keys=True)
                members = {
                    EXTENSIONS[media_type]: data,
                    "txt": row["caption"].encode("utf-8", "replace"),
                    "json": about.encode("utf-8", "replace"),
                }
                shard.add(Sample(row["key"], members))
                kept += 1
    return _balanced(len(hits.ids), kept, "image_not_at_hand")


def _json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in row.items()}


def _balanced(inputs: int, kept: int, reason: str) -> Written:
    return Written(kept, dict(+Counter({reason: inputs - kept})))
