"""Blocks as `filter` leaves them, made without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files.ledger import MANIFEST, Ledger, describe, total
from laion_hpc.files.schemas import SCORED_SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter


def filtered_block(folder: Path, shards: Sequence[Sequence[tuple[str, bytes]]]) -> Path:
    """Write a block of shards of (caption, encoded image); returns its folder."""
    folder.mkdir(parents=True)
    books = []
    for number, samples in enumerate(shards):
        tar, parquet = (folder / f"{number:05d}.{kind}" for kind in ("tar", "parquet"))
        records = [_record(number, i, text) for i, (text, _) in enumerate(samples)]
        with ShardWriter(tar) as writer:
            for record, (text, data) in zip(records, samples, strict=True):
                members = {"jpg": data, "json": json.dumps(record).encode()}
                writer.add(Sample(record["key"], members | {"txt": text.encode()}))
        pq.write_table(pa.Table.from_pylist(records, schema=SCORED_SAMPLE), parquet)
        count = len(samples)
        files = (describe(tar, rows=count), describe(parquet, rows=count))
        books.append(Ledger("filter", "samples", count, count, files=files))
    files = tuple(file for book in books for file in book.files)
    total(books, stage="filter", unit="samples", files=files).write(folder / MANIFEST)
    return folder


def _record(shard: int, row: int, caption: str) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for field in SCORED_SAMPLE:
        kind = field.type
        record[field.name] = (
            "" if pa.types.is_string(kind) else False if pa.types.is_boolean(kind) else 0
        )
    key = f"CC-TEST-0000-{shard:05d}-{row:05d}"
    return record | {
        "key": key,
        "url": f"http://host.example/{key}.jpg",
        "caption": caption,
        "status": "success",
        "similarity": 0.3 + row / 1000,
        "nsfw": "UNLIKELY",
        "fate": "kept",
        "language_class": "en",
    }
