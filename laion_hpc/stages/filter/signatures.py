"""Signatures of images, to find duplicates: pixels, a perceptual hash, an embedding.

Each kind is one array in scores/SHARD.KIND.npy, row for row with the scores: a new threshold does
not read images again. Rows of zeros stand for samples that take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.config.sections import DuplicatesConfig
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import File
from laion_hpc.files.tables import open_array

EXACT = "exact"
PERCEPTUAL = "perceptual"
SEMANTIC = "semantic"
KINDS = (EXACT, PERCEPTUAL, SEMANTIC)

Signatures = dict[str, NDArray[np.generic]]
"""Per kind: exact uint64 (n, 2), perceptual uint64 (n,), semantic float16 (n, width)."""

_SIDE = 32
_LOW = 8
_FLATTEST = 8.0
"""In grey levels (0 … 255) times _SIDE. If all low frequencies of an image are below it, its pHash
is noise: it is a plain background."""


def kinds(config: DuplicatesConfig) -> tuple[str, ...]:
    """The kinds that a config needs, cheapest first."""
    asked = (config.exact, config.perceptual is not None, config.semantic is not None)
    return tuple(kind for kind, wanted in zip(KINDS, asked, strict=True) if wanted)


def supersets(wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All sets of kinds that hold the wanted ones, smallest first."""
    others = [kind for kind in KINDS if kind not in wanted]
    for size in range(len(others) + 1):
        for more in combinations(others, size):
            yield tuple(kind for kind in KINDS if kind in wanted or kind in more)


def viewer(wanted: Sequence[str]) -> Callable[[Image.Image], Signatures] | None:
    """A function that takes the signatures of one RGB image; None if there is none to take."""
    functions = {EXACT: pixel_hash, PERCEPTUAL: perceptual_hash}
    mine = {kind: functions[kind] for kind in wanted if kind in functions}
    # Not a closure: it is sent to the processes that decode.
    return partial(_look, functions=mine) if mine else None


def _look(
    image: Image.Image, functions: Mapping[str, Callable[[Image.Image], NDArray[np.uint64]]]
) -> Signatures:
    return {kind: function(image) for kind, function in functions.items()}


def pixel_hash(image: Image.Image) -> NDArray[np.uint64]:
    """XXH3-128 of an image's size and pixels, as two uint64."""
    import xxhash

    digest = xxhash.xxh3_128(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return np.frombuffer(digest.digest(), np.uint64).copy()


def perceptual_hash(image: Image.Image) -> NDArray[np.uint64]:
    """pHash (Zauner 2010): which of the 63 lowest DCT coefficients are above their median.

    It survives scaling and recompression. An image without structure gets 0: it equals
    nothing.
    """
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    low = np.einsum("ki,ij,lj->kl", _DCT, np.asarray(grey, np.float64), _DCT, optimize=_ROWS_FIRST)
    coefficients = low.ravel()[1:]  # without the mean brightness
    if np.abs(coefficients).max() < _FLATTEST:
        return np.uint64(0)  # type: ignore[return-value]
    bits = np.append(coefficients > np.median(coefficients), True)
    return np.packbits(bits).view(np.uint64)[0]  # type: ignore[no-any-return]


def _dct_rows() -> NDArray[np.float64]:
    """The first _LOW rows of the orthonormal DCT-II of length _SIDE."""
    k, n = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float64)


_DCT = _dct_rows()
_ROWS_FIRST = ["einsum_path", (0, 1), (0, 1)]


def spread(
    wanted: Sequence[str],
    count: int,
    rows: NDArray[np.int64],
    seen: Sequence[Signatures],
    embeddings: NDArray[np.float32],
) -> Signatures:
    """The signatures of a shard of `count` samples; those not in `rows` get zeros.

    `seen` holds the result of `viewer` for each of `rows`, `embeddings` (len(rows), width) their
    embeddings.
    """
    full: Signatures = {}
    for kind in wanted:
        values: NDArray[np.generic] = embeddings.astype(np.float16)
        if kind != SEMANTIC:
            shape = (2,) if kind == EXACT else ()
            values = np.array([one[kind] for one in seen], np.uint64).reshape(len(rows), *shape)
        full[kind] = np.zeros((count, *values.shape[1:]), values.dtype)
        full[kind][rows] = values
    return full


def path_of(folder: Path, shard: str, kind: str) -> Path:
    """The path of a shard's signatures of a kind."""
    return folder / f"{shard}.{kind}.npy"


def write(folder: Path, shard: str, found: Signatures) -> None:
    """Write the arrays of a shard."""
    for kind, values in found.items():
        with atomic(path_of(folder, shard, kind)) as aside, aside.open("wb") as stream:
            np.save(stream, values)


def load(folder: Path, shard: str, kind: str, rows: NDArray[np.int64]) -> NDArray[np.generic]:
    """The signatures of some rows of a shard."""
    stored = open_array(path_of(folder, shard, kind), "run `filter` again")
    return np.asarray(stored[rows])


def keep_only(folder: Path, shard: str, wanted: Sequence[str]) -> None:
    """Remove a shard's arrays of other kinds."""
    for kind in KINDS:
        if kind not in wanted:
            path_of(folder, shard, kind).unlink(missing_ok=True)


def describe(folder: Path, shard: str, wanted: Sequence[str]) -> tuple[File, ...]:
    """The ledger's entries of a shard's arrays."""
    paths = [path_of(folder, shard, kind) for kind in wanted]
    return tuple(ledger.describe(path, rows=len(open_array(path))) for path in paths)
