"""Finds samples whose picture a better sample shows already. It decides only, without I/O.

Samples are always sorted, the best first. A sample is dropped if an earlier sample that *stays* is
its duplicate. So every dropped sample has a twin that is kept. Example: B is like A, and C is like
B but not like A: A and C stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Dropped = NDArray[np.bool_]

CHUNK = 4096
"""Samples compared at once with those kept before them."""

CLUSTER = 50_000
"""The most embeddings that are compared all with all. k-means splits more of them into clusters
of about this size, and duplicates are found inside each (SemDeDup, arXiv 2303.09540)."""

_LLOYD_STEPS = 8
_SAMPLE = 256
"""Vectors per centroid that k-means learns from."""


def best_first(similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    """The order of n samples: highest similarity first; equal ones keep their order."""
    return np.asarray(np.argsort(-similarity, kind="stable"))


def exact(hashes: NDArray[np.uint64]) -> Dropped:
    """(n, 2) hashes of pixels -> (n,): True if an earlier one is equal. Zeros equal nothing."""
    pairs = np.ascontiguousarray(hashes).view([("a", np.uint64), ("b", np.uint64)]).ravel()
    _, first = np.unique(pairs, return_index=True)
    dropped = np.ones(len(pairs), bool)
    dropped[first] = False
    return np.asarray(dropped & hashes.any(axis=1))


def perceptual(hashes: NDArray[np.uint64], distance: int) -> Dropped:
    """(n,) hashes -> (n,): True if one that stays differs in at most `distance` bits.

    0 equals nothing.
    """
    import faiss

    count = len(hashes)
    taking_part = np.flatnonzero(hashes)
    hashes = hashes[taking_part]
    codes = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
    kept = faiss.IndexBinaryFlat(64)

    def near_kept(chunk: slice) -> Dropped:
        if not kept.ntotal:
            return np.zeros(len(codes[chunk]), bool)
        nearest, _ = kept.search(codes[chunk], 1)
        return np.asarray(nearest[:, 0] <= distance)

    def near_each_other(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(np.bitwise_count(hashes[rows, None] ^ hashes[None, rows]) <= distance)

    def keep(rows: NDArray[np.int64]) -> None:
        kept.add(codes[rows])

    found = _one_after_the_other(len(hashes), near_kept, near_each_other, keep)
    dropped = np.zeros(count, bool)
    dropped[taking_part[found]] = True
    return dropped


def semantic(embeddings: NDArray[np.float16], cosine: float) -> Dropped:
    """(n, width) unit rows -> (n,): True if one that stays has at least this cosine.

    Zeros equal nothing. It computes in float32 on one thread: the number of cores changes no bit.
    """
    import torch

    vectors = torch.from_numpy(embeddings.astype(np.float32))
    kept: list[torch.Tensor] = []

    def near_kept(chunk: slice) -> Dropped:
        mine = vectors[chunk]
        near = np.zeros(len(mine), bool)
        for before in kept:
            near |= ((mine @ before.T).amax(dim=1) >= cosine).numpy()
        return near

    def near_each_other(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        mine = vectors[torch.from_numpy(rows)]
        return np.asarray((mine @ mine.T >= cosine).numpy())

    def keep(rows: NDArray[np.int64]) -> None:
        if len(rows):
            kept.append(vectors[torch.from_numpy(rows)])

    with _one_thread():
        return _one_after_the_other(len(vectors), near_kept, near_each_other, keep)


def _one_after_the_other(
    count: int,
    near_kept: Callable[[slice], Dropped],
    near_each_other: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    keep: Callable[[NDArray[np.int64]], object],
) -> Dropped:
    """Decide in order, in chunks: memory is bounded for any number of duplicates."""
    dropped = np.zeros(count, bool)
    for start in range(0, count, CHUNK):
        chunk = slice(start, min(count, start + CHUNK))
        dropped[chunk] = near_kept(chunk)
        rows = start + np.flatnonzero(~dropped[chunk])
        near = near_each_other(rows)
        np.fill_diagonal(near, False)
        # Only samples with an equal in the chunk need a look one by one.
        for i in np.flatnonzero(near.any(axis=1)):
            if not dropped[rows[i]]:
                dropped[rows[i + 1 :][near[i, i + 1 :]]] = True
        keep(rows[~dropped[rows]])
    return dropped


def clusters(embeddings: NDArray[np.float16]) -> list[NDArray[np.int64]]:
    """Rows of (n, width) embeddings by cluster, ascending; one cluster if they are few.

    Spherical k-means that starts from evenly spaced rows: the same rows give the same clusters.
    """
    import torch

    count = len(embeddings)
    number = -(-count // CLUSTER)
    if number <= 1:
        return [np.arange(count)] if count else []
    with _one_thread():
        spaced = np.linspace(0, count - 1, min(count, number * _SAMPLE)).astype(np.int64)
        sample = torch.from_numpy(embeddings[spaced].astype(np.float32))
        centroids = sample[:: len(sample) // number][:number].clone()
        for _ in range(_LLOYD_STEPS):
            nearest = (sample @ centroids.T).argmax(dim=1)
            for c in range(number):
                members = sample[nearest == c]
                if len(members):
                    centroids[c] = torch.nn.functional.normalize(members.sum(dim=0), dim=0)
        assigned = np.concatenate(
            [
                (torch.from_numpy(embeddings[at : at + CHUNK].astype(np.float32)) @ centroids.T)
                .argmax(dim=1)
                .numpy()
                for at in range(0, count, CHUNK)
            ]
        )
    return [rows for c in range(number) if len(rows := np.flatnonzero(assigned == c))]


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch uses one thread inside."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
