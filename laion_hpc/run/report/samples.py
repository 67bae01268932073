"""A seeded choice of safe samples with their pictures, for the sheet at the end of the page."""

from __future__ import annotations

import base64
import io
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNSAFE_FROM = 0.5
"""A sample with this punsafe or more is never shown."""
SAFE_CLASSES = ("UNLIKELY", "UNTAGGED")
MOST_TARS = 8
THUMBNAIL = 224
"""Longest side in pixels: twice the shown size, for sharp pictures on phones."""


@dataclass(frozen=True)
class Picture:
    """One sample of the sheet."""

    key: str
    caption: str
    language: str
    similarity: float
    data_uri: str
    width: int
    height: int


def choose(crawl: Path, count: int, *, seed: int) -> list[Picture]:
    """At most `count` safe samples, from a few tars all over the crawl.

    A sample is safe if it is tagged, its punsafe is below 0.5, and its zero-shot class is
    UNLIKELY or UNTAGGED. The choice depends on the seed and the files only.
    """
    rng = random.Random(seed)
    tables = sorted(crawl.glob("filter/*/[0-9]*.parquet"))
    rng.shuffle(tables)
    pictures: list[Picture] = []
    for number, table in enumerate(tables[:MOST_TARS]):
        left = min(MOST_TARS, len(tables)) - number
        wanted = -(-(count - len(pictures)) // left)
        pictures += _from_shard(crawl, table, wanted, rng)
    rng.shuffle(pictures)
    return pictures[:count]


def _from_shard(crawl: Path, table: Path, wanted: int, rng: random.Random) -> list[Picture]:
    from laion_hpc.files.tables import read_parquet

    tar = table.with_suffix(".tar")
    if wanted < 1 or not tar.exists():
        return []
    safe = safe_keys(crawl / "tag" / f"{table.parent.name}.parquet")
    columns = ["key", "caption", "language", "similarity"]
    rows = [row for row in read_parquet(table, columns=columns).to_pylist() if row["key"] in safe]
    chosen = {row["key"]: row for row in rng.sample(rows, min(wanted, len(rows)))}
    return [_picture(row, data) for row, data in _images(tar, chosen)]


def safe_keys(tags: Path) -> set[str]:
    """Keys of the samples of a block that may be shown; empty if the block has no punsafe."""
    from laion_hpc.files.tables import parquet_schema, read_parquet

    if not tags.exists():
        return set()
    names = parquet_schema(tags).names
    if "punsafe" not in names:
        return set()
    table = read_parquet(tags, columns=[n for n in ("key", "punsafe", "nsfw") if n in names])
    return {
        row["key"]
        for row in table.to_pylist()
        # NaN < 0.5 is false, so a score of NaN counts as unsafe.
        if row["punsafe"] < UNSAFE_FROM and row.get("nsfw", "UNTAGGED") in SAFE_CLASSES
    }


def _images(tar: Path, chosen: dict[str, dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]]:
    found = []
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            if key in chosen and extension in ("jpg", "jpeg", "png", "webp"):
                stream = archive.extractfile(member)
                if stream is not None:
                    found.append((chosen[key], stream.read()))
    return found


def _picture(row: dict[str, Any], data: bytes) -> Picture:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=82)
    return Picture(
        row["key"],
        row["caption"],
        row["language"],
        row["similarity"],
        "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(),
        *small.size,
    )
