"""Resizes and crops an RGB image: Pillow's bytes, in a fifth of Pillow's time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.models.resampling.loops import BITS, machine_code

Weights = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
"""For a range of output pixels: first input pixel (n,), how many (n,), their weights (n, most)."""

Window = tuple[int, int, int, int]
"""Left, top, right, bottom, pixels."""

SUPPORT = {int(Image.Resampling.BILINEAR): 1.0, int(Image.Resampling.BICUBIC): 2.0}
"""Known filters, and how far each reaches."""

turn, turn_back, weigh = machine_code()


def knows(before: tuple[int, int], after: tuple[int, int], resample: int) -> bool:
    """Whether `resize_window` can do it: both sides change, and Pillow resamples rows first.

    Pillow begins with the columns if the height shrinks by more than twice as much as the width.
    The image between the passes is rounded, so the order counts.
    """
    (width, height), (to_width, to_height) = before, after
    less = height - to_height
    columns_first = less > 0 and less > 2 * (width - to_width)
    known = resample in SUPPORT and width != to_width and height != to_height
    return known and not columns_first and _as_pillow()


def resize_window(
    image: Image.Image,
    size: tuple[int, int],
    window: Window,
    resample: int,
    out: NDArray[np.uint8],
) -> None:
    """`image.resize(size, resample).crop(window)` of an RGB image into `out` (height, width, 3).

    `size` is (width, height); `window` lies within it. Only if `knows` is true.
    """
    width, height = image.size
    left, top, right, bottom = window
    pixels = np.frombuffer(image.tobytes("raw", "RGBX"), np.uint32).reshape(height, width)
    across, x, columns = _needed(weights(width, size[0], resample, left, right))
    down, y, rows = _needed(weights(height, size[1], resample, top, bottom))
    turned = np.empty((columns, rows), np.uint32)
    turn(pixels[y : y + rows, x : x + columns], turned)
    sums = np.empty(max(rows * 4, (right - left) * 3), np.int32)
    middle = np.empty((right - left, rows * 4), np.uint8)
    weigh(turned.view(np.uint8), *across, sums, middle)
    narrow = np.empty((rows, right - left, 3), np.uint8)
    turn_back(middle.reshape(right - left, rows, 4), narrow)
    weigh(narrow.reshape(rows, -1), *down, sums, out.reshape(bottom - top, -1))


def _needed(found: Weights) -> tuple[Weights, int, int]:
    """Weights of the input pixels from the first one that is read; which it is, and how many."""
    first, count, table = found
    start = int(first[0])
    return (first - np.int32(start), count, table), start, int(first[-1] + count[-1]) - start


@lru_cache(maxsize=512)
def weights(before: int, after: int, resample: int, start: int, stop: int) -> Weights:
    """Of the output pixels `start` … `stop - 1` where `before` pixels become `after`.

    Pillow's: the same operations on doubles in the same order, then rounded to `BITS`.
    """
    scale = before / after
    widened = max(scale, 1.0)
    support = SUPPORT[resample] * widened
    center = (np.arange(start, stop) + 0.5) * scale
    # Both are cut off, not rounded, as C does.
    low = np.maximum((center - support + 0.5).astype(np.int64), 0)
    count = np.minimum((center + support + 0.5).astype(np.int64), before) - low
    at = np.arange(int(count.max()))
    places = (at[None] + low[:, None] - center[:, None] + 0.5) * (1.0 / widened)
    table = np.where(at[None] < count[:, None], _filter(places, resample), 0.0)
    total = np.zeros(len(table))
    for column in table.T:  # one after the other: the sum's last bit depends on it
        total += column
    table /= np.where(total == 0.0, 1.0, total)[:, None]
    fixed = (np.copysign(0.5, table) + table * (1 << BITS)).astype(np.int32)
    return low.astype(np.int32), count.astype(np.int32), fixed


def _filter(places: NDArray[np.float64], resample: int) -> NDArray[np.float64]:
    x = np.abs(places)
    if resample == Image.Resampling.BILINEAR:
        return np.where(x < 1.0, 1.0 - x, 0.0)
    a = -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@lru_cache(maxsize=1)
def _as_pillow() -> bool:
    """Whether this Pillow gives the same bytes on a few pictures: others may differ."""
    rng = np.random.default_rng(0)
    for before, after in (((61, 47), (24, 18)), ((47, 61), (70, 91)), ((99, 64), (33, 32))):
        # Black and white next to each other overshoot, and are cut off.
        image = Image.fromarray(rng.integers(0, 2, (*before[::-1], 3), np.uint8) * 255)
        for resample in SUPPORT:
            window = (3, 2, after[0] - 1, after[1])
            resized = image.resize(after, Image.Resampling(resample))
            expected = np.asarray(resized.crop(window))
            found = np.empty_like(expected)
            resize_window(image, after, window, resample, found)
            if not np.array_equal(found, expected):
                return False
    return True
