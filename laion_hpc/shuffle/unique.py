"""Compiled code that keeps the best row of each key: one pass over a hash table."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def best_rows(  # type: ignore[no-untyped-def]
    left, low, high, length, wat, offset, link, table, stays
):
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
