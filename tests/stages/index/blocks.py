"""Makes block folders as `embed` writes them, from clustered vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.config import Config, digest, parse
from laion_hpc.files import ledger, schemas
from laion_hpc.files.index_folder import Modality
from laion_hpc.files.ledger import Ledger
from laion_hpc.stages.index.add import add
from laion_hpc.stages.index.embeddings import Vectors
from laion_hpc.stages.index.merge import merge
from laion_hpc.stages.index.metadata import lay_out
from laion_hpc.stages.index.train import train

CENTRES = 40


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(count: int, width: int, seed: int) -> Vectors:
    """Unit vectors around CENTRES centres; the centres are the same for every seed."""
    centres = unit(np.random.default_rng(99).standard_normal((CENTRES, width)))
    rng = np.random.default_rng(seed)
    which = rng.integers(0, CENTRES, count)
    noise = rng.standard_normal((count, width)) * (0.7 / np.sqrt(width))
    return unit(centres[which] + noise).astype(np.float32)


def samples(block: int, count: int, **columns: list[object]) -> pa.Table:
    """`count` rows of EMBEDDED_SAMPLE with plain values; `columns` replaces some."""
    languages = ["en", "de", "ja", ""]
    values: dict[str, list[object]] = {
        "key": [f"demo-{block:04d}-00000-{row:05d}" for row in range(count)],
        "url": [f"https://h{row % 7}.example/{block}/{row}.jpg" for row in range(count)],
        "caption": [f"caption {row} of block {block}" for row in range(count)],
        "language": [languages[row % 4] for row in range(count)],
        "language_class": [("en", "multi", "multi", "nolang")[row % 4] for row in range(count)],
        "similarity": [0.3 + row % 10 / 100 for row in range(count)],
        "nsfw": ["UNTAGGED"] * count,
        "original_width": [200 + row for row in range(count)],
        "original_height": [300] * count,
        "license": ["?"] * count,
        "page_url": [f"https://h{row % 7}.example/page" for row in range(count)],
    } | columns
    values["image_path"] = values["key"]
    arrays = []
    for field in schemas.EMBEDDED_SAMPLE:
        if field.name in values:
            arrays.append(pa.array(values[field.name], field.type))
        else:
            blank: object = "" if pa.types.is_string(field.type) else 0
            if pa.types.is_boolean(field.type):
                blank = False
            arrays.append(pa.array([blank] * count, field.type))
    return pa.table(arrays, schema=schemas.EMBEDDED_SAMPLE)


def write_block(
    folder: Path,
    images: np.ndarray,
    table: pa.Table,
    *,
    texts: np.ndarray | None = None,
    shard: int = 300,
) -> Path:
    """Write vectors and metadata in shards of `shard` rows, and the manifest."""
    for number, first in enumerate(range(0, len(images), shard)):
        for kind, vectors in (("img", images), ("text", images if texts is None else texts)):
            path = folder / f"{kind}_emb" / f"{kind}_emb_{number:05d}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, vectors[first : first + shard].astype(np.float16))
        (folder / "metadata").mkdir(exist_ok=True)
        pq.write_table(
            table.slice(first, shard), folder / "metadata" / f"metadata_{number:05d}.parquet"
        )
    folder.mkdir(parents=True, exist_ok=True)
    Ledger(
        "embed", "samples", len(images), len(images), source=f"{folder.name}-{len(images)}"
    ).write(folder / ledger.MANIFEST)
    return folder


def write_tags(path: Path, table: pa.Table, **columns: list[float]) -> Path:
    """The tags of these samples: punsafe rises from 0 to 1, unless given."""
    count = table.num_rows
    values = {
        "punsafe": [row / max(1, count - 1) for row in range(count)],
        "pwatermark": [row % 5 / 5 for row in range(count)],
    } | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = [
        schemas.join_hash(url, text)
        for url, text in zip(table["url"].to_pylist(), table["caption"].to_pylist(), strict=True)
    ]
    tags: dict[str, pa.Array] = {"key": table["key"], "hash": pa.array(hashes, pa.int64())}
    tags |= {name: pa.array(numbers, pa.float32()) for name, numbers in values.items()}
    tags["nsfw"] = pa.array(["UNLIKELY"] * count)
    pq.write_table(pa.table(tags), path)
    return path


def config(**index: object) -> Config:
    return parse({"index": index})


def build(
    folder: Path,
    blocks: dict[int, Path],
    settings: Config,
    *,
    threads: int = 1,
    tags: dict[int, Path] | None = None,
    reverse: bool = False,
    modality: Modality = "image",
) -> Path:
    """Train, add, merge (and lay out metadata where there are tags); the index folder."""
    key = digest(settings, "index")
    order = sorted(blocks, reverse=reverse)
    train(
        [blocks[block] for block in order],
        folder / "trained.index",
        config=settings.index,
        digest=key,
        seed=settings.dataset.seed,
        threads=threads,
        modality=modality,
    )
    paths = []
    for block in order:
        paths.append(folder / "blocks" / f"{block:04d}.index")
        add(
            folder / "trained.index",
            blocks[block],
            paths[-1],
            block=block,
            digest=key,
            threads=threads,
        )
        if tags:
            output = folder / "metadata" / f"{block:04d}.arrow"
            lay_out(blocks[block], tags[block], output, block=block, digest=key)
    merge(folder / "trained.index", paths, folder, model=settings.embed.model, digest=key)
    return folder
