"""A whole small run, made without running the stages: every file that audit and report read."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from laion_hpc.config import Config, digest, parse
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import (
    CANDIDATE,
    EMBEDDED_SAMPLE,
    KEYED_CANDIDATE,
    SAMPLE,
    SCORED_SAMPLE,
    join_hash,
)
from laion_hpc.files.shards import Sample, ShardWriter
from laion_hpc.runtime.usage import Usage
from laion_hpc.stages.release.block import TableBlock, make_block
from laion_hpc.stages.release.gather import gather
from laion_hpc.web.url import block_of
from tests.stages.release.blocks import write_block

CRAWL = "synthetic"
SEGMENTS = ("1642320299852.23", "1642320299894.10")
SHARD = 100
Row = dict[str, Any]

_TEXTS = {
    "en": "a red boat on the lake near an old house in summer with two dogs",
    "de": "ein rotes Boot auf dem See bei einem alten Haus im Sommer",
    "fr": "un bateau rouge sur le lac près d'une vieille maison en été",
    "ja": "湖の 赤い ボート と 古い 家 夏の 犬",
    "ru": "красная лодка на озере у старого дома летом",
    "": "IMG DSC X200 Kovács Müller 2014 Canon",
}
_WORDS = {language: text.split() for language, text in _TEXTS.items()}
_FAILURES = ["http_404"] * 10 + ["dns"] * 5 + ["timeout"] * 4 + ["http_403"] * 3 + ["too_small"] * 3
_FAILURES += ["not_an_image", "opted_out", "http_500", "tls", "too_many_redirects", "truncated"]


def make_run(root: Path, *, links: int = 1200, blocks: int = 2) -> Config:
    """Write `root/synthetic/…`, the results of a run over `links` links; return its config."""
    config = parse({"crawls": [CRAWL], "dataset": {"blocks": blocks}})
    crawl = root / CRAWL
    rng = random.Random(1)
    candidates = [_candidate(number, rng) for number in range(links)]
    by_block: dict[int, list[Row]] = {block: [] for block in range(blocks)}
    for row in candidates:
        by_block[block_of(row["url"], blocks)].append(row)
    _extract(crawl, by_block)
    for block, rows in by_block.items():
        _shuffle(crawl, block, rows)
        _download(crawl, block, rows, rng)
        kept = _filter(crawl, block, rows, config)
        _embed_and_tag(crawl, block, kept, rng)
        _index_block(crawl, block, len(kept))
        make_block(
            crawl / "embed" / f"{block:04d}",
            crawl / "tag" / f"{block:04d}.parquet",
            TableBlock(
                number=block,
                release=crawl / "release",
                ledger=crawl / "release" / "blocks" / f"{block:04d}.ledger.json",
                config=config.release,
                digest=digest(config, "release"),
            ),
        )
    _index_whole(crawl, blocks)
    gather(crawl / "release", config, blocks=blocks)
    _benchmarks(crawl, blocks)
    return config


def _candidate(number: int, rng: random.Random) -> Row:
    language = rng.choices(list(_WORDS), [8, 3, 3, 2, 2, 3])[0]
    host = f"{rng.choices('abcdefghij', [20, 10, 8, 6, 5, 4, 3, 2, 1, 1])[0]}.example.org"
    words = _WORDS[language]
    text = " ".join(rng.choice(words) for _ in range(rng.randint(2, 14)))
    extension = rng.choice(["jpg", "jpg", "jpg", "png", "webp"])
    return {
        "url": f"https://{host}/image/{number}.{extension}",
        "text": text,
        "language": language,
        "language_probability": 0.95 if language else 0.3,
        "language_reliable": bool(language),
        "language_class": "nolang" if not language else "en" if language == "en" else "multi",
        "license": "?" if rng.random() < 0.9 else "https://creativecommons.org/licenses/by/4.0/",
        "page_url": f"https://{host}/page/{number}",
        "page_language": language,
        "title": "",
        "crawl": CRAWL,
        "segment": SEGMENTS[number % 2],
        "wat": "CC-MAIN-0.warc.wat.gz",
        "record_offset": number,
        "link_position": 0,
    }


def _extract(crawl: Path, by_block: dict[int, list[Row]]) -> None:
    for segment in SEGMENTS:
        path = crawl / "extract" / f"{segment}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        count = 0
        with pq.ParquetWriter(path, CANDIDATE) as writer:
            for rows in by_block.values():
                own = [row for row in rows if row["segment"] == segment]
                writer.write_table(pa.Table.from_pylist(own, schema=CANDIDATE))
                count += len(own)
        dropped = {"no_text": count // 2, "text_too_short": count // 9, "data_url": count // 12}
        book = Ledger(
            "extract",
            "links",
            count + sum(dropped.values()),
            count,
            dropped,
            files=(ledger.describe(path, rows=count),),
        )
        book.write(ledger.path_of(path))


def _shuffle(crawl: Path, block: int, rows: list[Row]) -> None:
    """Writes the block; the duplicates (every 20th row) leave `rows`, the others get a key."""
    inputs = len(rows)
    del rows[::20]
    for number, row in enumerate(rows):
        row["key"] = f"{CRAWL}-{block:04d}-{number // SHARD:05d}-{number % SHARD:05d}"
    path = crawl / "shuffle" / f"{block:04d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=KEYED_CANDIDATE), path, row_group_size=SHARD)
    Ledger(
        "shuffle",
        "links",
        inputs,
        len(rows),
        {"duplicate": inputs - len(rows)},
        files=(ledger.describe(path, rows=len(rows)),),
    ).write(ledger.path_of(path))


def _download(crawl: Path, block: int, rows: list[Row], rng: random.Random) -> None:
    folder = crawl / "download" / f"{block:04d}"
    books = []
    for start in range(0, len(rows), SHARD):
        shard = rows[start : start + SHARD]
        for row in shard:
            row |= _downloaded(row, rng)
        path = folder / f"{start // SHARD:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(shard, schema=SAMPLE), path)
        dropped = Counter(row["error_message"] for row in shard if row["error_message"])
        kept = len(shard) - dropped.total()
        books.append(
            Ledger(
                "download",
                "samples",
                len(shard),
                kept,
                dropped,
                files=(ledger.describe(path, rows=len(shard)),),
            )
        )
        books[-1].write(folder / f"{start // SHARD:05d}.ledger.json")
    files = tuple(entry for book in books for entry in book.files)
    ledger.total(books, stage="download", unit="samples", files=files).write(
        folder / ledger.MANIFEST
    )


def _downloaded(row: Row, rng: random.Random) -> Row:
    reason = rng.choice(_FAILURES) if rng.random() < 0.4 else ""
    width, height = rng.choice([240, 320, 640, 800, 1200, 1600]), rng.choice([240, 480, 600, 1200])
    status = 0 if reason in ("dns", "timeout", "tls") else 200
    kind = {"jpg": "image/jpeg", "png": "image/png; charset=x", "webp": "image/webp"}
    return {
        "caption": row["text"],
        "status": "failed_to_download" if reason else "success",
        "error_message": reason,
        "http_status": int(reason[5:]) if reason.startswith("http_") else status,
        "final_url": row["url"] if status else "",
        "content_type": kind[row["url"].rpartition(".")[2]] if status else "",
        "bytes": 0 if reason else rng.randint(6_000, 200_000),
        "width": 0 if reason else 64,
        "height": 0 if reason else 48,
        "original_width": 0 if reason else width,
        "original_height": 0 if reason else height,
        "exif": "",
        "sha256": "" if reason else f"{rng.getrandbits(256):064x}",
        "md5": "" if reason else f"{rng.getrandbits(128):032x}",
    }


def _filter(crawl: Path, block: int, rows: list[Row], config: Config) -> list[Row]:
    folder = crawl / "filter" / f"{block:04d}"
    rng = random.Random(block)
    downloaded = [row for row in rows if row["status"] == "success"]
    for row in downloaded:
        middle = 0.31 if rng.random() < 0.5 else 0.17
        row["similarity"] = max(-1.0, min(1.0, rng.gauss(middle, 0.04)))
        row["nsfw"] = rng.choices(["UNLIKELY", "UNSURE", "NSFW"], [20, 2, 1])[0]
        limit = getattr(config.filter.thresholds, row["language_class"])
        row["fate"] = "kept" if row["similarity"] >= limit else "dissimilar"
    (folder / "scores").mkdir(parents=True)
    for start in range(0, len(downloaded), SHARD):
        table = pa.Table.from_pylist(downloaded[start : start + SHARD], schema=SCORED_SAMPLE)
        pq.write_table(table, folder / "scores" / f"{start // SHARD:05d}.parquet")
    kept = [row for row in downloaded if row["fate"] == "kept"]
    for start in range(0, len(kept), SHARD):
        shard = kept[start : start + SHARD]
        name = f"{start // SHARD:05d}"
        pq.write_table(
            pa.Table.from_pylist(shard, schema=SCORED_SAMPLE), folder / f"{name}.parquet"
        )
        with ShardWriter(folder / f"{name}.tar") as tar:
            for row in shard:
                tar.add(Sample(row["key"], {"jpg": _picture(row), "txt": row["caption"].encode()}))
    Ledger(
        "filter",
        "samples",
        len(downloaded),
        len(kept),
        {"dissimilar": len(downloaded) - len(kept)},
    ).write(folder / ledger.MANIFEST)
    return kept


def _picture(row: Row) -> bytes:
    rng = random.Random(row["key"])
    image = Image.new("RGB", (64, 48), tuple(rng.randrange(256) for _ in range(3)))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


def _embed_and_tag(crawl: Path, block: int, kept: list[Row], rng: random.Random) -> None:
    names = set(EMBEDDED_SAMPLE.names)
    rows = []
    for row in kept:
        tagged = {name: value for name, value in row.items() if name in names}
        tagged["image_path"] = row["key"]
        tagged["hash"] = join_hash(row["url"], row["caption"])
        tagged["punsafe"] = rng.betavariate(0.5, 4)
        tagged["pwatermark"] = rng.betavariate(0.5, 2)
        tagged["aesthetic"] = rng.gauss(5, 0.8)
        rows.append(tagged)
    write_block(crawl, rows, block)


def _index_block(crawl: Path, block: int, vectors: int) -> None:
    path = crawl / "index" / "blocks" / f"{block:04d}.index"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"index")
    counts = {"block": block, "embeddings": "0123456789abcdef"}
    files = (ledger.describe(path, rows=vectors),)
    book = Ledger("index", "vectors", vectors, vectors, counts=counts, files=files)
    book.write(ledger.path_of(path))
    table = crawl / "index" / "metadata" / f"{block:04d}.arrow"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(b"table")
    Ledger("index", "samples", vectors, vectors).write(ledger.path_of(table))


def _index_whole(crawl: Path, blocks: int) -> None:
    folder = crawl / "index"
    books = [ledger.read(folder / "blocks" / f"{b:04d}.ledger.json") for b in range(blocks)]
    vectors = sum(book.kept for book in books)
    (folder / "image.index").write_bytes(b"whole")
    files = (ledger.describe(folder / "image.index", rows=0),)
    Ledger("index", "vectors", vectors, vectors, files=files).write(folder / ledger.MANIFEST)
    Ledger("index", "vectors", vectors, vectors).write(folder / "trained.ledger.json")
    measured = [
        {"nprobe": nprobe, "image": {"1": best, "10": best - 0.01}, "text": {"1": 0.9, "10": 0.88}}
        for nprobe, best in ((1, 0.7), (8, 0.97), (64, 1.0))
    ]
    evaluation = {
        "key": "IVF64,Flat",
        "count": sum(book.kept for book in books),
        "bytes_per_vector": 136,
        "queries": {"image": 100, "text": 100},
        "target_recall": 0.95,
        "target_reached": True,
        "nprobe": 8,
        "recall": measured,
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    latency = [{"nprobe": 8, "p50_ms": 1.234, "p99_ms": 5.6}]
    (folder / "evaluation_stats.json").write_text(json.dumps({"threads": 1, "latency": latency}))


def _benchmarks(crawl: Path, blocks: int) -> None:
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for number, stage in enumerate(("shuffle", "download", "filter", "embed", "tag", "release")):
        folder = crawl / "benchmarks" / stage
        folder.mkdir(parents=True)
        for block in range(blocks):
            seconds = 10.5 * (number + 1) + block
            (folder / f"{block:04d}.tsv").write_text(
                f"{head}{seconds}\t0:00:10\t{300 * number + 100}.5"
                f"\t-\t-\t-\t-\t-\t90.0\t{seconds}\n"
            )
            if stage == "embed":
                log = crawl / "logs" / stage / f"{block:04d}.log"
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"done\n{Usage(4, 1_000.0, 5_000.5, 2_000.0).line()}\n")
