"""A pass of Pillow's resampling, in its fixed point, and functions that transpose an image.

Pillow goes along rows and sums pixel by pixel. Sums down columns, for a whole row at once, become
vector instructions: so rows become columns first, and rows again afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laion_hpc.runtime.compiled import compiled

BITS = 22
"""Binary places of a weight: Pillow's PRECISION_BITS for 8 bits a channel."""


def turn(source: Any, out: Any) -> None:
    """Pixels (rows, columns) uint32 -> (columns, rows)."""
    # Unsigned indices: no test for those that count from the end. Strips of 16 stay in the cache.
    rows, columns, strip = np.uint64(source.shape[0]), np.uint64(source.shape[1]), np.uint64(16)
    for start in range(np.uint64(0), rows, strip):
        stop = min(start + strip, rows)
        for column in range(columns):
            for row in range(start, stop):
                out[column, row] = source[row, column]


def turn_back(source: Any, out: Any) -> None:
    """Bytes (columns, rows, 4) -> (rows, columns, 3): the fourth byte of each pixel is dropped."""
    columns, rows, strip = np.uint64(source.shape[0]), np.uint64(source.shape[1]), np.uint64(16)
    for start in range(np.uint64(0), columns, strip):
        stop = min(start + strip, columns)
        for row in range(rows):
            for column in range(start, stop):
                for channel in range(np.uint64(3)):
                    out[row, column, channel] = source[column, row, channel]


def weigh(source: Any, first: Any, count: Any, weights: Any, sums: Any, out: Any) -> None:
    """Sums of rows: source (rows, n) uint8 -> out (other rows, n) uint8.

    Row y of `out` is the sum of `count[y]` rows from `first[y]` on, times `weights[y]` int32.
    `sums` (n,) int32 is working memory.
    """
    half, one, two = np.int32(1 << (BITS - 1)), np.uint64(1), np.uint64(2)
    length = np.uint64(out.shape[1])
    for y in range(np.uint64(out.shape[0])):
        for i in range(length):
            sums[i] = half
        at, stop = np.uint64(first[y]), np.uint64(first[y]) + np.uint64(count[y])
        k = np.uint64(0)
        while at + one < stop:
            upper, lower = source[at], source[at + one]
            a, b = weights[y, k], weights[y, k + one]
            for i in range(length):
                sums[i] += np.int32(np.int32(upper[i]) * a + np.int32(lower[i]) * b)
            at += two
            k += two
        if at < stop:
            last, a = source[at], weights[y, k]
            for i in range(length):
                sums[i] += np.int32(last[i]) * a
        for i in range(length):
            out[y, i] = min(max(sums[i] >> BITS, 0), 255)


def machine_code() -> tuple[Any, Any, Any]:
    """`turn`, `turn_back` and `weigh`, compiled."""
    number = np.zeros(1, np.int32)
    pixels = np.zeros((1, 1), np.uint32)
    bytes_of = np.zeros((1, 1, 4), np.uint8)
    row = np.zeros((1, 4), np.uint8)
    sums, weights = np.zeros(4, np.int32), np.ones((1, 1), np.int32)
    return (
        compiled(turn, pixels[:, :], pixels.copy()),
        compiled(turn_back, bytes_of, np.zeros((1, 1, 3), np.uint8)),
        compiled(weigh, row, number, number + 1, weights, sums, row.copy()),
    )
