"""One filtered shard -> embeddings of its images and texts, in clip-retrieval's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from laion_hpc.config.sections import EmbedConfig
from laion_hpc.errors import InputError, LaionHpcError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.schemas import EMBEDDED_SAMPLE, SCORED_SAMPLE
from laion_hpc.files.tables import read_parquet
from laion_hpc.models import Tower, load
from laion_hpc.models.batches import embed_images, embed_texts
from laion_hpc.models.once import once
from laion_hpc.models.shard_images import Images

UNDECODABLE = "undecodable"


@dataclass(frozen=True)
class EmbedJob:
    """What all shards of a block have in common."""

    source: Path
    """Folder of the filtered block."""
    output: Path
    config: EmbedConfig
    model: str
    """Fingerprint of the model's files."""
    digest: str
    """Digest of the config keys of the stage."""


def finished(shard: str, *, job: EmbedJob) -> Ledger | None:
    """The ledger of a shard if this model has embedded it, or None."""
    path = job.output / f"{shard}.ledger.json"
    return ledger.finished(path, config=job.digest, source=_source(shard, job))


def embed_shard(shard: str, *, job: EmbedJob) -> Ledger:
    """Embed one shard unless that is done; returns its ledger.

    An image that cannot be decoded is dropped together with its text. A shard without rows gets
    no files: readers of this layout fail on empty arrays. InputError if the tar is damaged or
    differs from its parquet.
    """
    done = finished(shard, job=job)
    if done:
        return done
    path = job.output / f"{shard}.ledger.json"
    path.unlink(missing_ok=True)
    tar = job.source / f"{shard}.tar"
    table = read_parquet(tar.with_suffix(".parquet"), "run `filter` again", schema=SCORED_SAMPLE)
    tower = _tower(job.config)
    size = job.config.batch_size
    try:
        images: Images[None] = embed_images(
            tar, table["key"].to_pylist(), tower, size, scaled=job.config.decode == "scaled"
        )
        kept = table.take(pa.array(images.rows))
        texts = embed_texts([text or "" for text in kept["caption"].to_pylist()], tower, size)
    except InputError:
        raise
    except LaionHpcError as error:
        raise type(error)(f"{tar}: {error}") from None
    done = Ledger(
        stage="embed",
        unit="samples",
        inputs=table.num_rows,
        kept=kept.num_rows,
        dropped={UNDECODABLE: table.num_rows - kept.num_rows},
        config=job.digest,
        source=_source(shard, job),
        files=_write(shard, job.output, images.vectors, texts, kept),
    )
    done.write(path)
    return done


def files_of(shard: str) -> tuple[str, str, str]:
    """The files of a shard, relative to the block's folder: images, texts, metadata."""
    return (
        f"img_emb/img_emb_{shard}.npy",
        f"text_emb/text_emb_{shard}.npy",
        f"metadata/metadata_{shard}.parquet",
    )


def _source(shard: str, job: EmbedJob) -> str:
    files = (job.source / f"{shard}.tar", job.source / f"{shard}.parquet")
    return ledger.fingerprint(*files, job.model)


@once
def _tower(config: EmbedConfig) -> Tower:
    """The model of this process: loaded for its first shard, kept for the others."""
    return load(
        config.model, device=config.device, precision=config.precision, compile=config.compile
    )


def _write(
    shard: str,
    output: Path,
    images: NDArray[np.float32],
    texts: NDArray[np.float32],
    table: pa.Table,
) -> tuple[File, ...]:
    names = files_of(shard)
    paths = [output / name for name in names]
    if not table.num_rows:
        for path in paths:
            path.unlink(missing_ok=True)
        return ()
    for path, vectors in zip(paths, (images, texts), strict=False):
        _save(path, vectors)
    columns: Sequence[pa.ChunkedArray] = [
        table["key" if name == "image_path" else name] for name in EMBEDDED_SAMPLE.names
    ]
    with atomic(paths[2]) as aside:
        metadata = pa.table(list(columns), schema=EMBEDDED_SAMPLE).combine_chunks()
        pq.write_table(metadata, aside, compression="zstd")
    return tuple(ledger.describe(path, rows=table.num_rows, root=output) for path in paths)


def _save(path: Path, vectors: NDArray[np.float32]) -> None:
    """Save (n, width) as fp16 in C order; readers of this layout misread Fortran order."""
    with atomic(path) as aside, aside.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(vectors, dtype=np.float16))
