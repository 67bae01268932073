"""Compiled code that keeps the best row of each key: one pass over a hash table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import compiled

Array = Any


def _best_rows(
    left: Array, low: Array, high: Array, length: Array, wat: Array, offset: Array, link: Array,
    table: Array, stays: Array,
) -> None:  # fmt: skip
    """Marks in `stays` the row of each key with the longest text, then the earliest.

    Only the rows marked in `left` count. `table` is zeros, int32, a power of two longer than they
    are many; it holds row numbers plus one at the place that the key's hash says, or the next
    that is free.
    """
    mask = len(table) - 1
    for row in range(len(left)):
        if not left[row]:
            continue
        place = low[row] & mask
        while True:
            other = table[place] - 1
            if other < 0:
                table[place] = row + 1
                stays[row] = True
                break
            if low[other] == low[row] and high[other] == high[row]:
                if length[row] != length[other]:
                    better = length[row] > length[other]
                elif wat[row] != wat[other]:
                    better = wat[row] < wat[other]
                elif offset[row] != offset[other]:
                    better = offset[row] < offset[other]
                elif link[row] != link[other]:
                    better = link[row] < link[other]
                else:
                    better = row < other
                if better:
                    stays[other] = False
                    stays[row] = True
                    table[place] = row + 1
                break
            place = (place + 1) & mask


def best_rows(*arrays: Array) -> None:
    """`_best_rows` in machine code; the first call in a process loads or compiles it."""
    _loop()(*arrays)


@lru_cache(maxsize=1)
def _loop() -> Any:
    mark, place = np.empty(0, np.bool_), np.empty(0, np.int32)
    low, high, where = np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64)
    return compiled(_best_rows, mark, low, high, place, place, where, place, place, mark)
