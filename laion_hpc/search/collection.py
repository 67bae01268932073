"""One index being served: its vectors, its metadata and what its folder says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.index_folder import (
    EVALUATION,
    INDEX,
    PLACES,
    block_and_row,
    read_about,
    vector_id,
)
from laion_hpc.search.filters import Filter, Selection, Selections
from laion_hpc.search.knn import Hits, Ids, Vectors, nearest, nearest_distinct
from laion_hpc.search.table import Table

UNMEASURED_NPROBE = 32
"""Cells to visit where `index evaluate` has not been run."""
RARE = 0.01
"""Share of selected vectors below which drawing numbers at random takes too many draws."""


class Collection:
    """An index folder, memory-mapped; safe to use from several threads."""

    def __init__(self, folder: Path, name: str) -> None:
        """InputError if the folder is not a whole index with its metadata."""
        self.folder, self.name = folder, name
        self.about = read_about(folder)
        self.model = ModelConfig.model_validate(self.about.model)
        self.table = Table(folder, self.about)
        self._index = _open(folder)
        self._ivf = _ivf(self._index)
        self._places = _open_places(folder, self.about.count)
        self._starts, start = dict[int, int](), 0
        for block in self.about.blocks:
            self._starts[block.block] = start
            start += block.vectors
        self.nprobe = _measured_nprobe(folder)
        self._selections = Selections(self.table, list(self._starts))

    @property
    def count(self) -> int:
        """Vectors in the index."""
        return self.about.count

    def selection(self, wanted: Filter, *, safe: bool, unsafe_threshold: float) -> Selection | None:
        """The ids a filter allows; None for all. RequestError for columns that are not there."""
        return self._selections.get(wanted, safe=safe, unsafe_threshold=unsafe_threshold)

    def nearest(
        self,
        vector: Vectors,
        count: int,
        *,
        selection: Selection | None = None,
        nprobe: int | None = None,
        duplicates_from: float | None = None,
    ) -> Hits:
        """The nearest vectors; without those whose cosine to a better one is ≥ duplicates_from."""

        def search(number: int) -> Hits:
            return nearest(
                self._index, vector, number, nprobe=nprobe or self.nprobe, selection=selection
            )

        if duplicates_from is None:
            return search(count)
        return nearest_distinct(search, self.vectors, count, duplicates_from)

    def vectors(self, ids: Ids | Sequence[int]) -> Vectors:
        """The unit vectors of these ids, (n, width): exact in an SQfp16 index, else as its codes
        remember them. KeyError for an id that is not there."""
        import faiss

        found = np.empty((len(ids), self._ivf.d), np.float32)
        for row, number in enumerate(ids):
            block, position = block_and_row(int(number))
            if not self.table.has(int(number)):
                raise KeyError(int(number))
            cell, offset = self._places[self._starts[block] + position]
            self._ivf.reconstruct_from_offset(int(cell), int(offset), faiss.swig_ptr(found[row]))
        if isinstance(self._index, faiss.IndexPreTransform):
            for i in reversed(range(self._index.chain.size())):
                transform = faiss.downcast_VectorTransform(self._index.chain.at(i))
                found = transform.reverse_transform(found)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Vectors = found / np.maximum(lengths, 1e-12)
        return unit

    def sample(self, seed: int, count: int, selection: Selection | None) -> Ids:
        """The first `count` ids of an endless random order that `seed` stands for.

        A longer list begins with the shorter one, so that a reader can scroll on.
        """
        allowed = self.count if selection is None else selection.count
        wanted, chosen = min(count, allowed), dict[int, None]()
        if selection is not None and allowed < self.count * RARE:
            # Hardly any number drawn would hit: shuffle them all instead.
            shuffled: Ids = np.random.default_rng(seed).permutation(selection.ids())
            return shuffled[:wanted]
        blocks = [block for block in self.about.blocks if block.vectors]
        ends = np.cumsum([block.vectors for block in blocks])
        rng = np.random.default_rng(seed)
        while len(chosen) < wanted:
            places = rng.integers(0, self.count, 4_096)
            which = np.searchsorted(ends, places, side="right")
            ids = np.array([vector_id(blocks[b].block, 0) for b in which], np.int64)
            ids += places - np.array([ends[b] - blocks[b].vectors for b in which])
            if selection is not None:
                ids = ids[selection.holds(ids)]
            chosen.update(dict.fromkeys(ids.tolist()))
        return np.array(list(chosen)[:wanted], np.int64)


def open_collections(folders: Sequence[Path]) -> dict[str, Collection]:
    """The indices by name: that of the folder, or of the one above if it is called `index`."""
    opened: dict[str, Collection] = {}
    for folder in folders:
        name = _name(folder, set(opened))
        opened[name] = Collection(folder, name)
    return opened


def _name(folder: Path, taken: set[str]) -> str:
    path = folder.resolve()
    plain = path.parent.name if path.name == "index" else path.name
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in plain) or "index"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def _open(folder: Path) -> Any:
    import faiss

    flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        index = faiss.read_index(str(folder / INDEX), flags)
    except RuntimeError:
        raise InputError(f"{folder / INDEX}: not a whole index; run `index merge` again") from None
    lists = faiss.downcast_InvertedLists(_ivf(index).invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        # Its read-ahead starts 32 threads for every query: more work than reading the lists.
        lists.prefetch_nthread = 0
    return index


def _ivf(index: Any) -> Any:
    import faiss

    return faiss.downcast_index(faiss.extract_index_ivf(index))


def _open_places(folder: Path, count: int) -> npt.NDArray[np.uint32]:
    path = folder / PLACES
    try:
        # numpy cannot map an array of length 0.
        places: npt.NDArray[np.uint32] = np.load(
            path, mmap_mode="r" if count else None, allow_pickle=False
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); run `index merge` again") from None
    if places.shape != (count, 2):
        raise InputError(f"{path}: not the places of {count} vectors; run `index merge` again")
    return places


def _measured_nprobe(folder: Path) -> int:
    path = folder / EVALUATION
    if not path.exists():
        return UNMEASURED_NPROBE
    try:
        return int(json.loads(path.read_bytes())["nprobe"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not an evaluation; run `index evaluate` again") from None
