"""Chooses an index for a number of vectors: factory key, cells, bytes of a vector."""

from __future__ import annotations

import math
import re

ID_BYTES = 8
"""faiss keeps a 64-bit id beside each code."""
FEW = 1_000
"""Fewer vectors than this share one cell: its search is exact, and faster than with cells."""
MANY = 10_000_000
"""From this number on vectors are quantised: a query of whole ones reads too much of the disk."""
POINTS_PER_CELL = 39
"""k-means needs at least this number of training vectors per cell (faiss warns of fewer)."""
PQ_BYTES = (256, 128, 64, 48, 32, 24, 16, 8, 4)
"""Code lengths, the preferred first; autofaiss tries the same."""
TRAIN_PER_CELL = 256
"""Default training vectors per cell, up to TRAIN_MOST: the most that faiss takes. On held-out
vectors the quantisation error is 1.4% smaller with 128 than with 64."""
TRAIN_MOST = 2**23
"""The most, unless k-means needs more: 64 for each of LAION-5B's 131,072 cells, 13 GB as
float16 at 768 dimensions and 30 GB once rotated to 896."""

TRAIN_LEAST = 65_536
"""The fewest training vectors: 256 for each of a quantiser's 256 centroids."""
TRAIN_ENCODER = 131_072
"""Vectors for the product quantiser that codes are made with: 512 for each of 256 centroids. They
fit unseen vectors better than faiss' 256, and cost seconds more."""


def choose_key(count: int, width: int, max_bytes: int) -> str:
    """A faiss factory key of the IVF family for `count` vectors of `width` within `max_bytes`.

    The key is always IVF: so blocks can be added apart and merged on disk. The rule follows
    autofaiss' rule for memory-mapped indices: one cell for a few vectors; whole
    vectors while they fit; else OPQ and PQ with the longest code that fits, over cells that
    grow with the number of vectors. 5.55 G × 768 in 800 GB gives LAION-5B's
    `OPQ128_896,IVF131072_HNSW32,PQ128x8`. Two things differ. Whole vectors are kept as fp16
    (SQfp16): this loses nothing, as `embed` writes fp16, takes half the room, and serves 10 M
    vectors instead of 1 M. And there are never more cells than the vectors can train.
    """
    if count < FEW:
        return "IVF1,SQfp16"
    cells = _cells(count)
    coarse = f"IVF{cells}" if cells < 1_000 else f"IVF{cells}_HNSW32"
    if count < MANY and count * (2 * width + ID_BYTES) <= max_bytes:
        return f"{coarse},SQfp16"
    lengths = [length for length in PQ_BYTES if length < width] or [PQ_BYTES[-1]]
    fitting = [n for n in lengths if count * (n + ID_BYTES) <= max_bytes] or lengths[-1:]
    length = fitting[0]
    rotated = (min(width // length, 6) + 1) * length
    return f"OPQ{length}_{rotated},{coarse},PQ{length}x8"


def _cells(count: int) -> int:
    if count < 1_000_000:
        wanted: int = 2 ** round(math.log2(4 * math.sqrt(count)))
    elif count < 10_000_000:
        wanted = 16_384
    elif count < 300_000_000:
        wanted = 65_536
    else:
        wanted = 131_072
    trainable: int = 2 ** int(math.log2(max(1, count / POINTS_PER_CELL)))
    return min(wanted, trainable)


def cells_of(key: str) -> int | None:
    """The number of cells that a key names, or None if it is not of the IVF family."""
    found = re.search(r"(?:^|,)IVF(\d+)(?:_|\(|,)", key)
    return int(found.group(1)) if found else None


def train_count(cells: int, wanted: int, total: int) -> int:
    """Vectors to train on: as configured, or enough for all parts (0); at most all."""
    plenty = min(cells * TRAIN_PER_CELL, TRAIN_MOST)
    enough = wanted or max(plenty, cells * POINTS_PER_CELL, TRAIN_LEAST)
    return min(enough, total)


def rotation_count(trained: int) -> int:
    """The number of training vectors that OPQ learns from: 65,536, or half of a small sample.

    OPQ takes most of the training time of a small index. With fewer than 32,768 vectors faiss'
    k-means in a few dimensions takes ten times as long for each.
    """
    return min(65_536, max(32_768, trained // 2))
