"""Trains an index on a seeded sample over all blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import IndexConfig
from laion_hpc.errors import InputError, UsageError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.index_folder import FORMAT, Modality
from laion_hpc.files.ledger import Ledger
from laion_hpc.stages.index.embeddings import Vectors, gather, open_blocks, sample_rows
from laion_hpc.stages.index.keys import (
    TRAIN_ENCODER,
    cells_of,
    choose_key,
    rotation_count,
    train_count,
)
from laion_hpc.stages.index.quantisers import (
    applied,
    one_thread_each,
    train_encoder,
    train_rotation,
)


def train(
    folders: Sequence[Path],
    output: Path,
    *,
    config: IndexConfig,
    digest: str,
    seed: int,
    threads: int = 1,
    modality: Modality = "image",
) -> Ledger:
    """Train on a sample of the blocks in `folders`, write `output` and its ledger.

    The sample is uniform over the rows of all blocks: a crawl is ordered by host, and its first
    rows are of a few sites only. Memory holds the sample as stored and the rotated sample as
    float32: sample × (2 · width + 4 · rotated width) bytes.
    """
    blocks = open_blocks(folders, modality)
    total = sum(block.rows for block in blocks)
    width = max(block.width for block in blocks)
    source = ledger.fingerprint("train", FORMAT, modality, *(block.fingerprint for block in blocks))
    book_path = ledger.path_of(output)
    if done := ledger.finished(book_path, config=digest, source=source):
        return done
    key = choose_key(total, width, config.max_bytes) if config.key == "auto" else config.key
    cells = cells_of(key)
    if cells is None:
        raise UsageError(
            f"index.key: {key!r} is not of the IVF family, so its blocks cannot be merged on "
            "disk; use auto or a key such as IVF4096,SQfp16"
        )
    count = train_count(cells, config.train_vectors, total)
    if count < cells:
        raise UsageError(f"index.key: {key} has {cells} cells but only {count} vectors to train on")
    shards = [pair for b in blocks for pair in zip(b.shards, b.lengths, strict=True)]
    sample = gather(shards, sample_rows(total, count, (seed, 0)), width)
    gpu = uses_gpu(config.device)
    index = train_index(key, sample, seed=seed, threads=threads, gpu=gpu)
    import faiss

    with atomic(output) as aside:
        faiss.write_index(index, str(aside))
    book = Ledger(
        stage="index",
        unit="vectors",
        inputs=total,
        kept=total,
        config=digest,
        source=source,
        counts={"cells": cells, "dimension": width, "trained_on": count},
        about={"key": key, "modality": modality},
        files=(ledger.describe(output, rows=0),),
    )
    book.write(book_path)
    return book


def uses_gpu(device: str) -> bool:
    """Whether to use a GPU, by `index.device` and this faiss; UsageError if there is none."""
    import faiss

    if device == "cpu":
        return False
    found: bool = faiss.get_num_gpus() > 0
    if device == "cuda" and not found:
        raise UsageError(
            "index.device: cuda, but this faiss sees no GPU; install faiss-gpu, run it on a node "
            "with a GPU, or set auto"
        )
    return found


def train_index(
    key: str, sample: npt.NDArray[Any], *, seed: int, threads: int = 1, gpu: bool = False
) -> Any:
    """A trained, empty faiss index of inner products; the same bytes for any `threads`.

    k-means over the cells takes most of the time. It sums each centroid in one thread in the order
    of the vectors, so threads change nothing. Rotation and product quantiser are trained in pieces
    (`quantisers`). Steps whose result depends on threads (the links of an HNSW graph over the
    centroids, other transforms) use one. With `gpu` k-means finds the nearest centroids on all
    GPUs of the node; its sums differ in their last bits.
    """
    import faiss

    width = int(sample.shape[1])
    try:
        index = faiss.index_factory(width, key, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(f"index.key: faiss does not know {key!r} ({_last_line(error)})") from None
    ivf = faiss.try_extract_index_ivf(index)
    ivf = ivf and faiss.downcast_index(ivf)
    mergeable = isinstance(index, faiss.IndexPreTransform | faiss.IndexIVF)
    if ivf is None or not mergeable or isinstance(ivf, faiss.IndexIVFFastScan):
        raise UsageError(f"index.key: {key!r} cannot be merged on disk; use IVF…, or OPQ…,IVF…")
    if isinstance(ivf, faiss.IndexIVFScalarQuantizer) and key.endswith(",SQfp16"):
        # `embed` writes fp16: vectors stored whole, not as residuals, lose nothing.
        ivf.by_residual = False
    if isinstance(ivf, faiss.IndexIVFPQ):
        # It takes seconds per sub-quantiser, and serves Hamming distances, which we do not use.
        ivf.do_polysemous_training = False
    ivf.cp.seed = seed
    rotated = sample
    try:
        with one_thread_each(threads) as pool, _threads(1):
            for transform in _transforms(index):
                if isinstance(transform, faiss.OPQMatrix):
                    few = sample_rows(len(sample), rotation_count(len(sample)), (seed, 1))
                    own = rotated[few].astype(np.float32)
                    train_rotation(transform, own, seed=seed, pool=pool)
                elif not transform.is_trained:
                    transform.train(rotated.astype(np.float32))
                rotated = applied(transform, rotated, pool)
        rotated = np.ascontiguousarray(rotated, np.float32)
        centroids = _centroids(rotated, ivf, threads, gpu=gpu)
        with one_thread_each(threads) as pool, _threads(1):
            ivf.quantizer.train(centroids)
            ivf.quantizer.add(centroids)
            if type(ivf) is faiss.IndexIVFPQ:
                few = sample_rows(len(sample), TRAIN_ENCODER, (seed, 2))
                train_encoder(ivf, rotated[few], pool=pool)
            else:
                ivf.train(rotated)
        index.is_trained = True
    except RuntimeError as error:
        raise InputError(
            f"faiss could not train {key} on {len(sample)} vectors: {_last_line(error)}"
        ) from None
    return index


def _transforms(index: Any) -> list[Any]:
    import faiss

    if not isinstance(index, faiss.IndexPreTransform):
        return []
    return [faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())]


def _centroids(sample: Vectors, ivf: Any, threads: int, *, gpu: bool) -> Vectors:
    import faiss

    # This is the sample already: k-means must not draw from it again, nor warn of its size.
    ivf.cp.max_points_per_centroid = len(sample)
    ivf.cp.min_points_per_centroid = 1
    ivf.cp.spherical = True
    clustering = faiss.Clustering(ivf.d, ivf.nlist, ivf.cp)
    nearest = faiss.IndexFlatIP(ivf.d)
    if gpu:
        nearest = faiss.index_cpu_to_all_gpus(nearest)
    with _threads(threads):
        clustering.train(sample, nearest)
    centroids: Vectors = faiss.vector_to_array(clustering.centroids).reshape(ivf.nlist, ivf.d)
    return centroids


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _last_line(error: Exception) -> str:
    # faiss gives the place in its source first and the fault last.
    return str(error).strip().rpartition("failed: ")[2].splitlines()[-1]
