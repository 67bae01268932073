"""Rotation, product quantiser and encoding, in pieces that threads work on side by side.

faiss splits a matrix product over its threads: another number of threads gives other bits. Here
the pieces do not depend on the number of threads, and one thread does each piece. So the bytes
are the same, and no thread waits for another within a piece. Sub-quantisers do not depend on each
other, nor do rows to encode.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.stages.index.embeddings import Vectors

PIECE_ROWS = 4_096
"""Rows that one thread rotates or encodes at a time."""
PIECE_COLUMNS = 64
"""Columns of a product over all vectors that one thread computes at a time."""
OPQ_ROUNDS = 50
"""Rotations tried, as in faiss."""
OPQ_FIRST, OPQ_NEXT = 10, 2
"""Steps of k-means in the first round and in each later one, which starts where the last ended.

faiss takes 40 and 4: twice the time, for a quantisation error that is one hundredth smaller
(held-out vectors, 65,536 x 64 in clusters, spectrum falling as i^-0.6)."""
OPQ_CENTROIDS = 256
ENCODER_STEPS = 25
"""Steps of k-means of the quantiser that makes the codes, as in faiss."""


@contextmanager
def one_thread_each(threads: int) -> Iterator[Executor]:
    """Threads; in each of them faiss, OpenMP and BLAS use one thread."""
    import faiss
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(threads, initializer=partial(faiss.omp_set_num_threads, 1)) as pool,
    ):
        yield pool


def applied(transform: Any, vectors: npt.NDArray[Any], pool: Executor) -> Vectors:
    """Vectors (n, d_in) after a faiss transform: (n, d_out) float32."""
    result = np.empty((len(vectors), int(transform.d_out)), np.float32)

    def apply(first: int) -> None:
        part = slice(first, first + PIECE_ROWS)
        result[part] = transform.apply(np.ascontiguousarray(vectors[part], np.float32))

    _all(pool, apply, range(0, len(vectors), PIECE_ROWS))
    return result


def train_rotation(opq: Any, sample: Vectors, *, seed: int, pool: Executor) -> None:
    """Train a faiss OPQMatrix on vectors (n, d_in): quantise, rotate towards the result, repeat.

    The non-parametric solution of Ge et al., Optimized Product Quantization (2013). It starts
    from a random rotation, as in faiss. If `d_out` > `d_in`, the sample spans only a part.
    """
    inner, outer, parts = int(opq.d_in), int(opq.d_out), int(opq.M)
    centred = sample - sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    width = max(inner, outer)
    start = np.random.default_rng((seed, 2)).standard_normal((width, width))
    rotation = np.linalg.qr(start)[0][:outer, :inner].astype(np.float32)
    projected = np.empty((len(sample), outer), np.float32)
    product = np.empty((outer, inner), np.float32)
    centroids: list[Vectors | None] = [None] * parts

    def project(first: int) -> None:
        part = slice(first, first + PIECE_ROWS)
        projected[part] = centred[part] @ rotation.T

    def quantise(part: int) -> None:
        columns = _columns(part, outer // parts)
        steps = OPQ_FIRST if centroids[part] is None else OPQ_NEXT
        own = np.ascontiguousarray(projected[:, columns])
        centroids[part], projected[:, columns] = _clustered(
            own, OPQ_CENTROIDS, steps=steps, start=centroids[part]
        )

    def multiply(first: int) -> None:
        part = slice(first, first + PIECE_COLUMNS)
        product[part] = projected[:, part].T @ centred

    for _ in range(OPQ_ROUNDS):
        _all(pool, project, range(0, len(sample), PIECE_ROWS))
        _all(pool, quantise, range(parts))
        _all(pool, multiply, range(0, outer, PIECE_COLUMNS))
        # The rotation nearest to the product (orthogonal Procrustes).
        left, _, right = np.linalg.svd(product, full_matrices=False)
        rotation = left @ right
    _set(opq.A, rotation)
    opq.is_trained = opq.is_orthonormal = True


def train_encoder(ivf: Any, sample: Vectors, *, pool: Executor) -> None:
    """Train the product quantiser of a faiss IndexIVFPQ, whose cells are trained, on (n, d)."""
    rest = np.empty_like(sample)

    def subtract(first: int) -> None:
        part = slice(first, first + PIECE_ROWS)
        own = sample[part]
        if ivf.by_residual:
            _, cells = ivf.quantizer.search(own, 1)
            own = own - ivf.quantizer.reconstruct_batch(cells[:, 0])
        rest[part] = own

    _all(pool, subtract, range(0, len(sample), PIECE_ROWS))
    quantiser, width = ivf.pq, int(ivf.pq.dsub)

    def cluster(part: int) -> Vectors:
        own = np.ascontiguousarray(rest[:, _columns(part, width)])
        return _clustered(own, int(quantiser.ksub), steps=ENCODER_STEPS)[0]

    centroids = list(pool.map(cluster, range(int(quantiser.M))))
    _set(quantiser.centroids, np.stack(centroids))
    ivf.is_trained = True


def encode_into(index: Any, vectors: Vectors, ids: npt.NDArray[np.int64], pool: Executor) -> None:
    """Add vectors (n, d) under their ids (n,) to a trained index of the IVF family."""
    import faiss

    def encode(first: int) -> npt.NDArray[np.uint8]:
        codes: npt.NDArray[np.uint8] = index.sa_encode(vectors[first : first + PIECE_ROWS])
        return codes

    ivf = faiss.downcast_index(faiss.extract_index_ivf(index))
    firsts = range(0, len(vectors), PIECE_ROWS)
    for first, codes in zip(firsts, pool.map(encode, firsts), strict=True):
        ivf.add_sa_codes(codes, ids[first : first + PIECE_ROWS])


def _columns(part: int, width: int) -> slice:
    return slice(part * width, (part + 1) * width)


def _clustered(
    vectors: Vectors, count: int, *, steps: int, start: Vectors | None = None
) -> tuple[Vectors, Vectors]:
    """k-means of (n, d): the `count` centroids, and for each vector its centroid."""
    import faiss

    parameters = faiss.ClusteringParameters()
    parameters.niter = steps
    # This is the sample already: faiss must not draw from it again, nor warn.
    parameters.min_points_per_centroid, parameters.max_points_per_centroid = 1, len(vectors)
    clustering = faiss.Clustering(vectors.shape[1], count, parameters)
    if start is not None:
        _set(clustering.centroids, start)
    nearest = faiss.IndexFlatL2(vectors.shape[1])
    clustering.train(vectors, nearest)
    centroids: Vectors = faiss.vector_to_array(clustering.centroids).reshape(count, -1)
    _, found = nearest.search(vectors, 1)
    return centroids, centroids[found[:, 0]]


def _set(vector: Any, values: Vectors) -> None:
    import faiss

    faiss.copy_array_to_vector(np.ascontiguousarray(values, np.float32).ravel(), vector)


def _all(pool: Executor, work: Any, items: range) -> None:
    for _ in pool.map(work, items):
        pass
