"""One shard of embeddings -> its rows of the tags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from laion_hpc.config.sections import TagConfig
from laion_hpc.errors import InputError
from laion_hpc.files.schemas import EMBEDDED_SAMPLE, TAGS, join_hash
from laion_hpc.files.tables import open_embeddings, read_parquet
from laion_hpc.heads.head import Description, Head, load_head
from laion_hpc.stages.tag.image_heads import image_features

COLUMNS = ("image_path", "url", "caption", "nsfw")
"""Columns of the metadata that tagging reads."""


@dataclass(frozen=True)
class TagJob:
    """What all shards of a block have in common."""

    source: Path
    """Folder of the embedded block."""
    config: TagConfig
    width: int
    """Length of the embeddings."""
    images: Path | None = None
    """Folder of the filtered block, for heads that read images."""


EMBED_AGAIN = "run `embed` on this block again"


def schema_of(heads: list[Description]) -> pa.Schema:
    """TAGS, then a float32 column per head, then nsfw."""
    fields = [*TAGS]
    for head in heads:
        meaning = f"score of the head {head.name} ({head.source})"
        fields.append(pa.field(head.column, pa.float32(), metadata={"description": meaning}))
    return pa.schema([*fields, EMBEDDED_SAMPLE.field("nsfw")])


def tag_shard(shard: str, *, job: TagJob) -> pa.Table:
    """The tags of one shard, in the order of its embeddings.

    A row whose embedding is not finite keeps its place; its scores from embeddings are null.
    InputError if embeddings and metadata differ.
    """
    heads = _heads(job.config.heads)
    path = job.source / "img_emb" / f"img_emb_{shard}.npy"
    embeddings = open_embeddings(path, EMBED_AGAIN, mapped=False)
    metadata = job.source / "metadata" / f"metadata_{shard}.parquet"
    table = read_parquet(metadata, EMBED_AGAIN, columns=COLUMNS)
    if len(embeddings) != table.num_rows:
        raise InputError(
            f"{path}: holds {len(embeddings)} embeddings for {table.num_rows} rows of {metadata}; "
            "run `embed` on this block again"
        )
    if embeddings.shape[1] != job.width:
        raise InputError(
            f"{path}: has embeddings of {embeddings.shape[1]} numbers, but the block's first file "
            f"of {job.width}; run `embed` on this block again"
        )
    keys = table["image_path"].to_pylist()
    urls, texts = (table[name].to_pylist() for name in ("url", "caption"))
    hashes = [join_hash(url or "", text or "") for url, text in zip(urls, texts, strict=True)]
    columns = [
        table["image_path"],
        pa.array(hashes, pa.int64()),
        *(
            _scores(name, head, embeddings, shard, keys, job)
            for name, head in zip(job.config.heads, heads, strict=True)
        ),
        table["nsfw"],
    ]
    return pa.table(columns, schema=schema_of([head.description for head in heads]))


def _scores(
    name: str,
    head: Head,
    embeddings: NDArray[np.floating[Any]],
    shard: str,
    keys: list[str],
    job: TagJob,
) -> pa.Array:
    if head.description.image is None:
        broken = ~np.isfinite(embeddings).all(axis=1)
        whole = np.where(broken[:, None], 0, embeddings) if broken.any() else embeddings
        return pa.array(head.scores(whole), pa.float32(), mask=broken)
    assert job.images is not None, "checked before the work began"
    features = image_features(
        name, job.images / f"{shard}.tar", keys, job.config.device, job.config.batch_size
    )
    return pa.array(head.scores(features), pa.float32())


@lru_cache(maxsize=1)
def _heads(names: tuple[str, ...]) -> list[Head]:
    """The heads of this process: read for its first shard, kept for the others."""
    return [load_head(name) for name in names]
