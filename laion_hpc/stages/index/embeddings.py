"""Reads the vectors that `embed` wrote of a block: fp16 vectors in `.npy` shards, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.index_folder import PREFIX, Modality
from laion_hpc.files.tables import open_embeddings

Vectors = npt.NDArray[np.float32]
CHUNK_ROWS = 65_536
"""Rows read at once: 200 MB of float32 at 768 dimensions."""


@dataclass(frozen=True)
class Block:
    """The vectors of one modality in a block's folder, its shards sorted by name.

    The row of a vector is its position over these shards.
    """

    folder: Path
    modality: Modality
    shards: tuple[Path, ...]
    lengths: tuple[int, ...]
    width: int
    """0 if there is no shard."""
    fingerprint: str
    """Of the embeddings: of their manifest, or of the files if there is no manifest."""

    @property
    def rows(self) -> int:
        """Vectors in the block."""
        return sum(self.lengths)

    def shards_of(self, modality: Modality) -> tuple[Path, ...]:
        """The shards of a modality, row for row beside these; () if there are none."""
        found = self._beside(PREFIX[modality], ".npy")
        return found if all(path.exists() for path in found) else ()

    def tables(self) -> tuple[Path, ...]:
        """The metadata of each shard."""
        return self._beside("metadata", ".parquet")

    def _beside(self, kind: str, suffix: str) -> tuple[Path, ...]:
        own = PREFIX[self.modality]
        names = (path.stem.replace(own, kind, 1) + suffix for path in self.shards)
        return tuple(self.folder / kind / name for name in names)

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, Vectors]]:
        """Each chunk's first row and its vectors, (rows, width) float32, C order.

        Chunks go on from shard to shard, and only the last is shorter. So small shards, too, give
        work to many threads.
        """
        chunk = np.empty((min(rows, self.rows), self.width), np.float32)
        start = filled = 0
        for path, length in zip(self.shards, self.lengths, strict=True):
            array = open_embeddings(path, width=self.width)
            first = 0
            while first < length:
                part = array[first : first + len(chunk) - filled]
                chunk[filled : filled + len(part)] = part
                first, filled = first + len(part), filled + len(part)
                if filled == len(chunk):
                    yield start, chunk
                    start, filled = start + filled, 0
                    chunk = np.empty((min(rows, self.rows - start), self.width), np.float32)


def open_block(folder: Path, modality: Modality = "image") -> Block:
    """The shards of a block; InputError if it is no folder or differs from its manifest."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one made by `embed`")
    manifest = folder / ledger.MANIFEST
    shards = tuple(sorted((folder / PREFIX[modality]).glob("*.npy")))
    if not shards and not manifest.exists():
        raise InputError(
            f"{folder}: no {PREFIX[modality]}/*.npy and no manifest.json; not made by `embed`"
        )
    width, lengths = 0, []
    for path in shards:
        array = open_embeddings(path, width=width)
        width = int(array.shape[1])
        lengths.append(int(array.shape[0]))
    if manifest.exists():
        book = ledger.read(manifest)
        if book.kept != sum(lengths):
            raise InputError(
                f"{folder}: {sum(lengths)} vectors, but its manifest lists {book.kept}; "
                "run `embed` again"
            )
        fingerprint = ledger.fingerprint(manifest)
    else:
        fingerprint = ledger.fingerprint(*shards)
    return Block(folder, modality, shards, tuple(lengths), width, fingerprint)


def open_blocks(folders: Sequence[Path], modality: Modality = "image") -> list[Block]:
    """The blocks, sorted by the names of their folders: the order given does not matter.

    InputError if they hold no vector, or vectors of different widths.
    """
    ordered = sorted(folders, key=lambda folder: (folder.name, str(folder)))
    blocks = [open_block(folder, modality) for folder in ordered]
    widths = {block.width: block for block in blocks if block.rows}
    if not widths:
        raise InputError("the embeddings hold no vectors: there is nothing to index")
    if len(widths) > 1:
        told = ", ".join(f"{block.folder}: {width}" for width, block in widths.items())
        raise InputError(f"vectors of different widths cannot share an index ({told})")
    return blocks


def sample_rows(total: int, count: int, seed: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """`count` different numbers below `total` in ascending order, uniform, the same for a seed."""
    if count >= total:
        return np.arange(total, dtype=np.int64)
    picked = np.random.default_rng(seed).choice(total, count, replace=False, shuffle=False)
    return np.sort(picked.astype(np.int64))


def gather(
    shards: Sequence[tuple[Path, int]], rows: npt.NDArray[np.int64], width: int
) -> npt.NDArray[Any]:
    """The vectors at ascending positions over shards (path, length): (len(rows), width).

    They keep the stored type: float16 takes half the memory of float32. Only the pages that hold
    these rows are read.
    """
    stored = open_embeddings(shards[0][0]).dtype if shards else np.dtype(np.float16)
    result = np.empty((len(rows), width), stored)
    start = done = 0
    for path, length in shards:
        end = int(np.searchsorted(rows, start + length))
        if end > done:
            result[done:end] = open_embeddings(path, width=width)[rows[done:end] - start]
        start, done = start + length, end
    return result
