"""Blocks as `download` leaves them, made without a network."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_hpc.files.ledger import MANIFEST, Ledger, describe, total
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.shards import Sample, ShardWriter
from tests.models.tiny import picture


@dataclass(frozen=True)
class Row:
    """One downloaded sample; without data it failed."""

    caption: str
    language_class: str = "en"
    data: bytes | None = b""


def jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def rows(count: int, *, seed: int = 0) -> list[Row]:
    """Good samples, their classes in turn, with some failures among them."""
    classes = ("en", "multi", "nolang")
    return [
        Row(
            f"picture {seed + i} of thing {i % 7}",
            classes[i % 3],
            None if i % 5 == 4 else jpeg(picture(seed + i)),
        )
        for i in range(count)
    ]


def key(shard: int, row: int) -> str:
    return f"CC-TEST-0000-{shard:05d}-{row:05d}"


def download_block(folder: Path, shards: Sequence[Sequence[Row]]) -> Path:
    """Write the block; returns its folder."""
    folder.mkdir(parents=True)
    books = []
    for number, samples in enumerate(shards):
        tar, parquet = (folder / f"{number:05d}.{kind}" for kind in ("tar", "parquet"))
        records = [_record(key(number, i), row) for i, row in enumerate(samples)]
        with ShardWriter(tar) as writer:
            for record, row in zip(records, samples, strict=True):
                if row.data is not None:
                    members = {"jpg": row.data, "json": json.dumps(record).encode()}
                    writer.add(Sample(record["key"], members | {"txt": row.caption.encode()}))
        pq.write_table(pa.Table.from_pylist(records, schema=SAMPLE), parquet)
        kept = sum(row.data is not None for row in samples)
        book = Ledger(
            "download", "samples", len(samples), kept, {"timeout": len(samples) - kept},
            files=(describe(tar, rows=kept), describe(parquet, rows=len(samples))),
        )  # fmt: skip
        book.write(folder / f"{number:05d}.ledger.json")
        books.append(book)
    files = tuple(file for book in books for file in book.files)
    total(books, stage="download", unit="samples", files=files).write(folder / MANIFEST)
    return folder


def _record(name: str, row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for field in SAMPLE:
        kind = field.type
        record[field.name] = (
            "" if pa.types.is_string(kind) else False if pa.types.is_boolean(kind) else 0
        )
    good = row.data is not None
    return record | {
        "key": name,
        "url": f"http://host.example/{name}.jpg",
        "caption": row.caption,
        "status": "success" if good else "failed_to_download",
        "error_message": "" if good else "timeout",
        "language_class": row.language_class,
        "width": 48 if good else 0,
        "height": 40 if good else 0,
    }
