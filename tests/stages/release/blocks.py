"""Synthetic outputs of `embed` and `tag`, made as those stages would: what `release` reads."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import EMBEDDED_SAMPLE, TAGS, join_hash

LANGUAGES = ("en", "en", "en", "de", "fr", "ja", "zh", "")
CRAWL = "CC-MAIN-2022-05"
TAGS_SCHEMA = pa.schema(
    [
        *TAGS,
        pa.field("aesthetic", pa.float32()),
        pa.field("punsafe", pa.float32()),
        pa.field("pwatermark", pa.float32()),
        pa.field("nsfw", pa.string()),
    ]
)


def sample(number: int, block: int = 7, seed: int = 0) -> dict[str, Any]:
    """One embedded sample with its tags."""
    rng = random.Random(f"{seed}/{block}/{number}")
    language = rng.choice(LANGUAGES)
    words = ["größe", "猫", "photo", "of", "a", "small", "house", "at", "the", "sea"]
    caption = " ".join(rng.choice(words) for _ in range(rng.randint(2, 12)))
    url = f"https://{rng.choice('abcdef')}.example.org:8080/{block}/{number}.jpg?x=1"
    width, height = rng.choice([200, 256, 500, 512, 1024, 3000]), rng.choice([100, 512, 1024, 1500])
    key = f"{CRAWL}-{block:04d}-{number // 40:05d}-{number % 40:05d}"
    return {
        "image_path": key,
        "key": key,
        "url": url,
        "caption": caption,
        "http_status": 200,
        "final_url": url,
        "content_type": rng.choice(["image/jpeg", "image/png"]),
        "bytes": rng.randint(5_000, 90_000),
        "width": 256,
        "height": 200,
        "original_width": width,
        "original_height": height,
        "exif": "",
        "sha256": f"{number:064x}",
        "md5": f"{number:032x}",
        "language": language,
        "language_probability": 0.9,
        "language_reliable": bool(language),
        "language_class": "nolang" if not language else "en" if language == "en" else "multi",
        "license": rng.choice(["?", "https://creativecommons.org/licenses/by/4.0/"]),
        "page_url": f"https://example.org/{number}",
        "page_language": language,
        "title": "",
        "crawl": CRAWL,
        "segment": "1642320299852.23",
        "wat": "CC-MAIN-x.warc.wat.gz",
        "record_offset": number,
        "link_position": 0,
        "similarity": round(rng.uniform(0.26, 0.45), 4),
        "nsfw": rng.choice(["UNLIKELY", "UNSURE"]),
        "hash": join_hash(url, caption),
        "aesthetic": rng.uniform(2, 8),
        "punsafe": rng.random(),
        "pwatermark": rng.random(),
    }


def samples(count: int, block: int = 7, *, duplicates: int = 0) -> list[dict[str, Any]]:
    """`count` samples of a block, the last `duplicates` of them repeating the first ones' pairs."""
    made = [sample(number, block) for number in range(count)]
    for again in range(duplicates):
        copy = made[count - duplicates + again]
        for name in ("url", "caption", "hash"):
            copy[name] = made[again][name]
    return made


def write_block(root: Path, rows: list[dict[str, Any]], block: int = 7) -> tuple[Path, Path]:
    """Write `root/embed/0007` (40 samples a table) and `root/tag/0007.parquet` with ledgers."""
    embed = root / "embed" / f"{block:04d}"
    files = []
    for start in range(0, len(rows), 40):
        path = embed / "metadata" / f"metadata_{start // 40:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(rows[start : start + 40], schema=EMBEDDED_SAMPLE)
        pq.write_table(table, path, compression="zstd")
        files.append(ledger.describe(path, rows=table.num_rows, root=embed))
    (embed / "metadata").mkdir(parents=True, exist_ok=True)
    book = Ledger("embed", "samples", len(rows), len(rows), files=tuple(files))
    book.write(embed / ledger.MANIFEST)
    tags = root / "tag" / f"{block:04d}.parquet"
    tags.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TAGS_SCHEMA), tags, compression="zstd")
    entry = ledger.describe(tags, rows=len(rows))
    Ledger("tag", "samples", len(rows), len(rows), files=(entry,)).write(ledger.path_of(tags))
    return embed, tags
