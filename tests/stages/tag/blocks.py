"""Embedded blocks and heads, made without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from laion_hpc.files.ledger import MANIFEST, Ledger, describe
from laion_hpc.files.schemas import EMBEDDED_SAMPLE


def unit_vectors(count: int, width: int, seed: int = 0) -> NDArray[np.float16]:
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def embedded_block(folder: Path, shards: Sequence[NDArray[np.float16]]) -> Path:
    """Write a block as `embed` leaves it; returns its folder."""
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    files = []
    for number, vectors in enumerate(shards):
        array = folder / "img_emb" / f"img_emb_{number:05d}.npy"
        np.save(array, vectors)
        table = folder / "metadata" / f"metadata_{number:05d}.parquet"
        rows = [_record(number, row) for row in range(len(vectors))]
        pq.write_table(pa.Table.from_pylist(rows, schema=EMBEDDED_SAMPLE), table)
        files += [describe(path, rows=len(vectors), root=folder) for path in (array, table)]
    count = sum(len(vectors) for vectors in shards)
    Ledger("embed", "samples", count, count, files=tuple(files)).write(folder / MANIFEST)
    return folder


def _record(shard: int, row: int) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for field in EMBEDDED_SAMPLE:
        kind = field.type
        record[field.name] = (
            "" if pa.types.is_string(kind) else False if pa.types.is_boolean(kind) else 0
        )
    key = f"CC-TEST-0000-{shard:05d}-{row:05d}"
    return record | {
        "image_path": key,
        "key": key,
        "url": f"http://host.example/{key}",
        "caption": f"text {row} ü",
        "nsfw": ("UNLIKELY", "UNSURE", "NSFW")[row % 3],
    }


def head_folder(
    folder: Path, tensors: dict[str, NDArray[Any]] | None = None, **changes: Any
) -> str:
    """Write a head (by default one of two layers for 8 numbers); returns its name in a config."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(7)
    description = {
        "format": 1,
        "name": "test",
        "column": "punsafe",
        "space": "test",
        "width": 8,
        "activation": "relu",
        "output": "sigmoid",
        "threshold": 0.5,
        "licence": "none",
        "source": "a test",
    }
    folder.mkdir(parents=True)
    (folder / "head.json").write_text(json.dumps(description | changes))
    if tensors is None:
        shapes = {"layers.0.weight": (5, 8), "layers.0.bias": (5,)}
        shapes |= {"layers.1.weight": (1, 5), "layers.1.bias": (1,)}
        tensors = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    save_file(tensors, folder / "weights.safetensors")
    return str(folder)
