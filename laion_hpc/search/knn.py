"""Nearest vectors under a filter, in full numbers, without touching the shared index."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.search.filters import Selection

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
DISTINCT_ROWS = 1_024
"""Vectors compared at once with those kept before them."""
FETCH_FACTOR = 8
"""Candidates looked at for each result wanted, at most, when duplicates are left out."""


@dataclass(frozen=True)
class Hits:
    """Results, best first: (n,) ids and cosines."""

    ids: Ids
    scores: Vectors

    def __getitem__(self, part: slice | npt.NDArray[np.bool_]) -> Hits:
        return Hits(self.ids[part], self.scores[part])


def cells_to_visit(nprobe: int, cells: int, share: float) -> int:
    """How many cells to visit when only `share` of the vectors may be returned.

    A filter thins every cell: as many vectors are compared as without it if as many more cells
    are visited, and the recall stays about the same.
    """
    if share <= 0:
        return nprobe
    return max(1, math.ceil(min(cells, nprobe / share)))


def nearest(
    index: Any, vector: Vectors, count: int, *, nprobe: int, selection: Selection | None
) -> Hits:
    """The `count` nearest of the vectors that the selection allows, if there are so many.

    Where the cells visited hold too few, more cells are, up to all of them.
    """
    import faiss

    cells = int(faiss.extract_index_ivf(index).nlist)
    total = int(index.ntotal)
    allowed = total if selection is None else selection.count
    wanted = min(count, allowed)
    if wanted == 0:
        return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
    visits = cells_to_visit(nprobe, cells, allowed / total)
    while True:
        scores, ids = index.search(
            vector[None], wanted, params=_parameters(index, visits, selection)
        )
        hits = Hits(ids[0], scores[0])[ids[0] >= 0]
        if len(hits.ids) == wanted or visits >= cells:
            return hits
        visits = min(cells, visits * 4)


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
    """The `count` best, best first; the lower id first where they tie."""
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
    """The `count` nearest without near-duplicates; looks further until there are so many.

    `search(n)` gives the n nearest, `vectors_of(ids)` their unit vectors.
    """
    fetch = count + count // 2 + 10
    while True:
        hits = search(fetch)
        kept = hits[distinct(vectors_of(hits.ids), threshold)]
        if len(kept.ids) >= count or len(hits.ids) < fetch or fetch >= FETCH_FACTOR * count + 10:
            return kept[:count]
        fetch = min(fetch * 2, FETCH_FACTOR * count + 10)
