"""The fp16 embeddings that `embed` left on disk, read by the id a vector has in an index."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.index_folder import PREFIX, About, block_and_row
from laion_hpc.files.tables import open_embeddings

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


OPEN_SHARDS = 256
"""Shards mapped at once: a mapping keeps its file open, and a process may open 1,024 by default.
LAION-5B has half a million shards."""


@dataclass(frozen=True)
class _Block:
    shards: tuple[Path, ...]
    starts: tuple[int, ...]
    """First row of each shard."""


class StoredVectors:
    """The vectors of an index as they were embedded, memory-mapped.

    An index keeps codes of a tenth of their size, which give approximate answers.
    """

    def __init__(self, folders: Sequence[Path], about: About) -> None:
        """Folders of `embed`, in any order, at least one for each block of the index.

        InputError for a folder that is not one, or a block that no folder holds: a block is known
        by the fingerprint of its embeddings, which the index remembers. Folders of other indices
        are left alone.
        """
        shards = PREFIX[about.modality]
        found = {_fingerprint(folder, shards): folder for folder in folders}
        self._blocks: dict[int, _Block] = {}
        for entry in about.blocks:
            if not entry.vectors:
                continue
            if entry.embeddings not in found:
                raise InputError(
                    f"block {entry.block} of the index is not among the embeddings given, or was "
                    "changed since it was added"
                )
            folder = found[entry.embeddings]
            self._blocks[entry.block] = _open(folder / shards, about.dimension, entry.vectors)
        self._width = about.dimension
        self._mapped = lru_cache(maxsize=OPEN_SHARDS)(_open_shard)

    def get(self, ids: Ids | Sequence[int]) -> Vectors:
        """Unit vectors (n, width) of these ids; KeyError for one that is not there, InputError
        for a shard that is no longer what its block's manifest says."""
        places: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for position, number in enumerate(np.asarray(ids, np.int64).tolist()):
            block, row = block_and_row(number)
            if number < 0 or block not in self._blocks:
                raise KeyError(number)
            shard = bisect_right(self._blocks[block].starts, row) - 1
            places[block, shard].append((position, row - self._blocks[block].starts[shard]))
        result = np.empty((len(ids), self._width), np.float32)
        for (block, shard), wanted in places.items():
            vectors = self._mapped(self._blocks[block].shards[shard], self._width)
            positions, rows = (np.array(part) for part in zip(*wanted, strict=True))
            if rows.max() >= len(vectors):
                raise KeyError(int(np.asarray(ids)[positions[rows.argmax()]]))
            result[positions] = vectors[rows]
        lengths = np.linalg.norm(result, axis=1, keepdims=True)
        unit: Vectors = result / np.maximum(lengths, 1e-12)
        return unit


def _fingerprint(folder: Path, prefix: str) -> str:
    manifest = folder / ledger.MANIFEST
    if manifest.exists():
        return ledger.fingerprint(manifest)
    shards = sorted((folder / prefix).glob("*.npy"))
    if not shards:
        raise InputError(f"{folder}: no {prefix}/*.npy there; give folders made by `embed`")
    return ledger.fingerprint(*shards)


def _open(folder: Path, width: int, rows: int) -> _Block:
    """The shards of a block without opening each: the manifest knows how long they are."""
    manifest = folder.parent / ledger.MANIFEST
    files = ledger.read(manifest).files if manifest.exists() else ()
    known = {entry.name: entry.rows for entry in files}
    shards, starts, start = tuple(sorted(folder.glob("*.npy"))), [], 0
    for number, path in enumerate(shards):
        length = known.get(f"{folder.name}/{path.name}")
        if length is None or number == 0:
            # One shard of each block is checked, so that a wrong folder fails at the start.
            length = len(_open_shard(path, width))
        starts.append(start)
        start += length
    if start != rows:
        raise InputError(f"{folder}: {start} vectors, the index has {rows} of this block")
    return _Block(shards, tuple(starts))


def _open_shard(path: Path, width: int) -> npt.NDArray[np.float16]:
    return open_embeddings(path, width=width)
