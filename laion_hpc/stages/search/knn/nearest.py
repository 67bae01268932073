"""Nearest vectors under a filter, without changing the shared index."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.stages.search.knn.filters import Selection

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
DISTINCT_ROWS = 1_024
"""Vectors compared at once with those kept before them."""
SELECTIVE = 0.1
"""A filter that keeps at most this share is selective."""
PASSED_OVER, COMPARED = 4_000_000, 50_000
"""Bits tested, and vectors compared, for a selective filter at any nprobe: each takes some 10 ms of
one core."""
MANY_CELLS = 20
"""From one cell in this number on, they are many."""
FETCH_FACTOR = 8
"""Candidates looked at for each result wanted, at most, when duplicates are left out."""


@dataclass(frozen=True)
class Hits:
    """Results, best first: (n,) ids and cosines."""

    ids: Ids
    scores: Vectors

    def __getitem__(self, part: slice | npt.NDArray[np.bool_]) -> Hits:
        return Hits(self.ids[part], self.scores[part])


def cells_to_visit(nprobe: int, cells: int, share: float, total: int) -> int:
    """How many cells to visit when only `share` of the `total` vectors may be returned.

    A filter leaves fewer vectors in each cell, so more cells are visited until the number of
    vectors compared is the same as without it. For a selective filter that is not enough: its few
    vectors may lie in cells far from the query. So it gets all the cells that a few milliseconds
    allow.
    """
    if share <= 0:
        return nprobe
    visits = nprobe / share
    if share <= SELECTIVE:
        affordable = min(PASSED_OVER, COMPARED / share) / max(1, total)
        visits = max(visits, cells * affordable)
    return max(1, math.ceil(min(cells, visits)))


def nearest(
    index: Any, vector: Vectors, count: int, *, nprobe: int, selection: Selection | None
) -> Hits:
    """The `count` nearest of the selected vectors, or all if there are fewer. If the visited cells
    hold too few, more cells are visited, up to all of them.
    """
    import faiss

    cells = int(faiss.extract_index_ivf(index).nlist)
    total = int(index.ntotal)
    allowed = total if selection is None else selection.count
    wanted = min(count, allowed)
    if wanted == 0:
        return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
    visits = cells_to_visit(nprobe, cells, allowed / total, total)
    while True:
        scores, ids = _searched(index, vector[None], wanted, visits, selection)
        hits = Hits(ids[0], scores[0])[ids[0] >= 0]
        if len(hits.ids) == wanted or visits >= cells:
            return hits
        visits = min(cells, visits * 4)


def _searched(
    index: Any, vector: Vectors, count: int, visits: int, selection: Selection | None
) -> tuple[Vectors, Ids]:
    """(1, count) scores and ids from `visits` cells.

    A graph over the centroids finds a few nearest ones fast. It does not find many: it may reach
    only a fifth of them. Many are found by comparing the query with each centroid.
    """
    import faiss

    ivf = faiss.downcast_index(faiss.extract_index_ivf(index))
    graph, cells = faiss.downcast_index(ivf.quantizer), int(ivf.nlist)
    if not isinstance(graph, faiss.IndexHNSWFlat) or visits * MANY_CELLS < cells:
        found: tuple[Vectors, Ids] = index.search(
            vector, count, params=_parameters(index, visits, selection)
        )
        return found
    if isinstance(index, faiss.IndexPreTransform):
        for number in range(index.chain.size()):
            vector = faiss.downcast_VectorTransform(index.chain.at(number)).apply(vector)
    stored = faiss.downcast_index(graph.storage).get_xb()
    centroids = faiss.rev_swig_ptr(stored, cells * ivf.d).reshape(cells, ivf.d)
    cosines = centroids @ vector[0]
    nearest_cells = np.argpartition(-cosines, visits - 1)[:visits].astype(np.int64)
    cosines = np.ascontiguousarray(cosines[nearest_cells])
    scores, ids = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
    arrays = (faiss.swig_ptr(one) for one in (nearest_cells, cosines, scores, ids))
    parameters = _parameters(ivf, visits, selection)
    vector = np.ascontiguousarray(vector, np.float32)
    ivf.search_preassigned_c(1, faiss.swig_ptr(vector), count, *arrays, False, parameters, None)
    return scores, ids


def _parameters(index: Any, nprobe: int, selection: Selection | None) -> Any:
    import faiss

    if selection is None:
        parameters = faiss.SearchParametersIVF(nprobe=nprobe)
    else:
        parameters = faiss.SearchParametersIVF(nprobe=nprobe, sel=selection.selector())
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters)
    return parameters


def ranked(ids: Ids, scores: Vectors, count: int) -> Hits:
    """The `count` best, best first; on a tie, the lower id first."""
    order = np.lexsort((ids, -scores))[:count]
    return Hits(ids[order], np.asarray(scores[order], np.float32))


def distinct(vectors: Vectors, threshold: float) -> npt.NDArray[np.bool_]:
    """Which of the unit vectors (n, d), best first, to keep: none is closer than `threshold` to
    one kept before it. Memory: n · DISTINCT_ROWS cosines."""
    keep = np.ones(len(vectors), bool)
    for first in range(0, len(vectors), DISTINCT_ROWS):
        part = slice(first, first + DISTINCT_ROWS)
        before = vectors[:first][keep[:first]]
        keep[part] = (vectors[part] @ before.T < threshold).all(axis=1)
        alike = vectors[part] @ vectors[part].T >= threshold
        for row in range(len(alike)):
            if keep[first + row]:
                keep[first + row + 1 : part.stop] &= ~alike[row, row + 1 :]
    return keep


def nearest_distinct(
    search: Callable[[int], Hits],
    vectors_of: Callable[[Ids], Vectors],
    count: int,
    threshold: float,
) -> Hits:
    """The `count` nearest without near-duplicates; looks further until there are that many.

    `search(n)` gives the n nearest, `vectors_of(ids)` their unit vectors.
    """
    fetch = count + count // 2 + 10
    while True:
        hits = search(fetch)
        kept = hits[distinct(vectors_of(hits.ids), threshold)]
        if len(kept.ids) >= count or len(hits.ids) < fetch or fetch >= FETCH_FACTOR * count + 10:
            return kept[:count]
        fetch = min(fetch * 2, FETCH_FACTOR * count + 10)
