"""The index that `search.py` queries: synthetic clusters, metadata, `laion-hpc index` on them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files import ledger
from laion_hpc.files.index_folder import metadata_name
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.schemas import EMBEDDED_SAMPLE

HERE = Path(__file__).resolve().parent
NPROBE = 16
TRAIN = 160_000
CLUSTERS = 5_000
SHARD = 100_000
LANGUAGES = ["en"] * 60 + ["de"] * 20 + ["ja"] * 19 + ["ga"]


def vectors(count: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors around CLUSTERS centres, which are the same for every seed."""
    centres = np.random.default_rng(1).standard_normal((CLUSTERS, width), np.float32)
    rng = np.random.default_rng((2, seed))
    noise = rng.standard_normal((count, width), np.float32)
    found = centres[rng.integers(0, CLUSTERS, count)] + 0.7 * noise
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def build(folder: Path, count: int, width: int, key: str) -> None:
    block = folder / "embed" / "0000"
    for name in ("img_emb", "metadata"):
        (block / name).mkdir(parents=True, exist_ok=True)
    tags = []
    for number, first in enumerate(range(0, count, SHARD)):
        size = min(SHARD, count - first)
        found = vectors(size, width, number).astype(np.float16)
        np.save(block / "img_emb" / f"img_emb_{number:05d}.npy", found)
        table = samples(first, size)
        pq.write_table(table, block / "metadata" / f"metadata_{number:05d}.parquet")
        unsafe = pa.array(np.random.default_rng(number).random(size, np.float32) ** 3)
        tags.append(pa.table({"key": table["key"], "punsafe": unsafe}))
    Ledger("embed", "samples", count, count, source="bench").write(block / ledger.MANIFEST)
    pq.write_table(pa.concat_tables(tags), folder / "tags.parquet")
    config, index = folder / "config.json", folder / "index"
    config.write_text(
        json.dumps({"index": {"key": key, "train_vectors": TRAIN}, "search": {"rate_limit": 0}})
    )
    table_at = index / metadata_name(0)
    say = ("--config", config, "--output", table_at)
    laion_hpc("index", "metadata", block, folder / "tags.parquet", "--block", 0, *say)
    make_index(block, index, config)
    print(f"recall@10 of 100 queries at nprobe {NPROBE}: {recall(folder):.3f}")


def make_index(block: Path, index: Path, config: Path) -> None:
    added = index / "blocks" / "0000.index"
    say = ("--config", config, "--processes", 2, "--output")
    laion_hpc("index", "train", block, *say, index / "trained.index")
    laion_hpc("index", "add", index / "trained.index", block, "--block", 0, *say, added)
    laion_hpc("index", "merge", index / "trained.index", added, *say, index)
    (index / "evaluation.json").write_text(json.dumps({"nprobe": NPROBE}))


def recall(folder: Path) -> float:
    from laion_hpc.stages.search.knn.collection import Collection

    collection = Collection(folder / "index", "bench")
    queries = vectors(100, collection.about.dimension, 10**6)
    shards = sorted((folder / "embed" / "0000" / "img_emb").glob("*.npy"))
    cosines = np.concatenate([queries @ np.load(path).astype(np.float32).T for path in shards], 1)
    best = np.argpartition(-cosines, 10, axis=1)[:, :10]
    found = [collection.nearest(query, 10).ids.tolist() for query in queries]
    return float(
        np.mean([len({*a} & {*b}) / 10 for a, b in zip(best.tolist(), found, strict=True)])
    )


def samples(first: int, count: int) -> pa.Table:
    rows = range(first, first + count)
    values: dict[str, list[Any]] = {
        "key": [f"bench-0000-{row // 10_000:05d}-{row % 10_000:05d}" for row in rows],
        "url": [f"https://host{row % 9_973}.example/images/{row:09d}/picture.jpg" for row in rows],
        "caption": [f"a caption of some sixty characters somebody wrote {row}" for row in rows],
        "language": [LANGUAGES[row * 7_919 % 100] for row in rows],
        "language_class": ["en"] * count,
        "similarity": [0.28 + row % 20 / 100 for row in rows],
        "original_width": [200 + row % 1_900 for row in rows],
        "original_height": [200 + row % 1_700 for row in rows],
        "license": ["?"] * count,
        "page_url": [f"https://host{row % 9_973}.example/page/{row:09d}" for row in rows],
    }  # fmt: skip
    values["image_path"] = values["key"]
    arrays = []
    for field in EMBEDDED_SAMPLE:
        blank: Any = "" if pa.types.is_string(field.type) else 0
        blank = False if pa.types.is_boolean(field.type) else blank
        arrays.append(pa.array(values.get(field.name, [blank] * count), field.type))
    return pa.table(arrays, schema=EMBEDDED_SAMPLE)


def laion_hpc(*arguments: object) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-m", "laion_hpc", *map(str, arguments)]
    subprocess.run(command, check=True, cwd=HERE.parent, stderr=subprocess.DEVNULL)
    print(f"{' '.join(map(str, arguments[:2]))}: {time.perf_counter() - start:.1f} s", flush=True)
