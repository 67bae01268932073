"""Measures results: exact neighbours, recall against them, the parameters to choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from laion_hpc.stages.index.embeddings import Vectors

Ids = npt.NDArray[np.int64]
DEPTHS = (1, 10, 100)
"""recall@k is measured at these k."""
TIE = 1e-5
"""Similarities this close are equal: fp32 sums in another order differ as much."""
SPARE = 2 * max(DEPTHS)
"""Exact neighbours kept for each query: more than the deepest k, for those that tie with it."""


@dataclass(frozen=True)
class Neighbours:
    """For each of q queries the exact nearest vectors, best first: (q, k) ids and cosines.

    If there are fewer than k vectors, the rest have id -1 and cosine -inf.
    """

    ids: Ids
    cosines: Vectors


def exact(queries: Vectors, own: Ids, chunks: Iterable[tuple[Ids, Vectors]]) -> Neighbours:
    """Exact neighbours by a full scan; `own[i]` is an id to leave out for query i, or -1.

    Chunks are (ids, vectors), ids ascending. Memory holds the (q, rows) similarities of one chunk.
    Of a chunk only vectors are sorted that are nearer to a query than a neighbour it has: after
    millions of vectors, a few.
    """
    count = len(queries)
    ids = np.full((count, SPARE), -1, np.int64)
    cosines = np.full((count, SPARE), -np.inf, np.float32)
    for chunk_ids, vectors in chunks:
        found = queries @ vectors.T
        places = np.minimum(np.searchsorted(chunk_ids, own), len(chunk_ids) - 1)
        here = np.flatnonzero(chunk_ids[places] == own)
        found[here, places[here]] = -np.inf
        near = np.flatnonzero((found > cosines[:, -1:]).any(axis=0))
        if len(near) == 0:
            continue
        found, chunk_ids = found[:, near], chunk_ids[near]
        keep = min(SPARE, found.shape[1])
        best = np.argpartition(-found, keep - 1, axis=1)[:, :keep]
        ids, cosines = _best(
            np.concatenate([ids, chunk_ids[best]], axis=1),
            np.concatenate([cosines, np.take_along_axis(found, best, 1)], axis=1),
        )
    ids[np.isneginf(cosines)] = -1
    return Neighbours(ids, cosines)


def _best(ids: Ids, cosines: Vectors) -> tuple[Ids, Vectors]:
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :SPARE]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(cosines, order, 1)


def recall(found: Ids, truth: Neighbours, depth: int) -> float:
    """Mean share of the `depth` nearest vectors that are among the first `depth` found.

    A vector that ties with the last of them counts, too: a web crawl holds the same picture many
    times. `found` (q, ≥ depth) must not hold the query's own id; -1 is nothing.
    """
    shares = []
    for row, ids, cosines in zip(found, truth.ids, truth.cosines, strict=True):
        wanted = min(depth, int((ids >= 0).sum()))
        if wanted == 0:
            continue
        right = set(ids[(ids >= 0) & (cosines >= cosines[wanted - 1] - TIE)].tolist())
        hits = len(right & set(row[:depth].tolist()))
        shares.append(min(hits, wanted) / wanted)
    return round(float(np.mean(shares)), 4) if shares else 1.0


def without_own(found: Ids, own: Ids, depth: int) -> Ids:
    """The first `depth` ids of each row without its own id; `found` is at least one wider."""
    rows = []
    for row, mine in zip(found, own, strict=True):
        kept = row[row != mine] if mine >= 0 else row
        rows.append(kept[:depth])
    return np.stack(rows) if rows else found[:, :depth]


def nprobe_steps(cells: int) -> list[int]:
    """The numbers of cells to try: powers of two up to 1,024, and all cells if they are few."""
    steps = [2**power for power in range(11) if 2**power <= cells]
    return steps if cells > 1_024 or cells in steps else [*steps, cells]


def choose_nprobe(
    measured: Sequence[tuple[int, Mapping[str, float]]], target: float
) -> tuple[int, bool]:
    """The smallest nprobe at which every kind of query has recall@10 ≥ target, and True.

    Otherwise the nprobe with the best recall (of the worst kind of query), and False.
    """
    worst = [(nprobe, min(at_ten.values())) for nprobe, at_ten in measured]
    for nprobe, value in worst:
        if value >= target:
            return nprobe, True
    best = max(value for _, value in worst)
    return next(nprobe for nprobe, value in worst if value == best), False
