"""One index that is served: its vectors, its metadata and its description."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.files.index_folder import (
    ABOUT,
    EVALUATION,
    ROW_BITS,
    TEXT,
    open_index,
    read_about,
    vector_id,
)
from laion_hpc.files.stored_vectors import StoredVectors
from laion_hpc.files.tables import open_array
from laion_hpc.stages.search.knn.filters import Condition, Filter, Selection, Selections
from laion_hpc.stages.search.knn.histograms import Edges, edges_of
from laion_hpc.stages.search.knn.nearest import (
    Hits,
    Ids,
    Vectors,
    cells_to_visit,
    nearest,
    nearest_distinct,
    ranked,
)
from laion_hpc.stages.search.knn.table import Table

CAPTIONS = "-captions"
"""Suffix of the name of an index of texts; the name begins as that of the images' index."""
UNMEASURED_NPROBE = 32
"""Cells to visit where `index evaluate` has not been run."""
REFINE_FACTOR = 4
"""Candidates whose true cosine is computed for each result wanted, if there are embeddings."""
DIRECT_ROWS = 50_000
"""Up to this number of selected vectors, each is read by itself, and no cell is scanned."""
DIRECT_COST = 500
"""Vectors skipped in a cell (one bit tested each) in the time that reading one vector takes."""
RARE = 0.01
"""Below this share of selected vectors, random draws hit too rarely."""


class Collection:
    """An index folder, memory-mapped; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        name: str,
        embeddings: Sequence[Path] = (),
        metadata: Path | None = None,
    ) -> None:
        """`embeddings`: the folders of `embed` that the index was made of, if they exist.
        `metadata`: the index folder that holds the metadata, if it is another.

        InputError if the folder is not a complete index with its metadata.
        """
        self.folder, self.name = folder, name
        self.about = read_about(folder)
        self.model = ModelConfig.model_validate(self.about.model)
        self.table = Table(metadata or folder, self.about)
        self._index = _open(folder)
        self._ivf = _ivf(self._index)
        self._places = _open_places(folder / self.about.names.places, self.about.count)
        self._starts, start = dict[int, int](), 0
        for block in self.about.blocks:
            self._starts[block.block] = start
            start += block.vectors
        self.nprobe = _measured_nprobe(folder)
        self._selections = Selections(self.table, list(self._starts))
        self.stored = StoredVectors(embeddings, self.about) if embeddings else None

    @property
    def count(self) -> int:
        """Vectors in the index."""
        return self.about.count

    @cached_property
    def similarity_edges(self) -> Edges:
        """Bars of the caption match: its range depends on the model that `filter` used."""
        return edges_of(self.table.survey_numbers("similarity"))

    def selection(
        self,
        wanted: Filter,
        *,
        safe: bool,
        unsafe_threshold: float,
        where: Sequence[Condition] = (),
    ) -> Selection | None:
        """The ids a filter allows; None for all. RequestError for missing columns."""
        return self._selections.get(
            wanted, safe=safe, unsafe_threshold=unsafe_threshold, where=where
        )

    def nearest(
        self,
        vector: Vectors,
        count: int,
        *,
        selection: Selection | None = None,
        nprobe: int | None = None,
        duplicates_from: float | None = None,
    ) -> Hits:
        """The nearest vectors. A vector is left out if its cosine to a better one is ≥
        duplicates_from.

        With embeddings, the candidates that the index's codes find are ranked by their true
        cosines.
        """
        visits = nprobe or self.nprobe

        def search(number: int) -> Hits:
            if selection is not None and self._compares_directly(selection, visits):
                ids = selection.ids()
                return ranked(ids, self.vectors(ids) @ vector, number)
            if self.stored is None:
                return nearest(self._index, vector, number, nprobe=visits, selection=selection)
            wider = number * REFINE_FACTOR
            hits = nearest(self._index, vector, wider, nprobe=visits, selection=selection)
            return ranked(hits.ids, self.vectors(hits.ids) @ vector, number)

        if duplicates_from is None:
            return search(count)
        return nearest_distinct(search, self.vectors, count, duplicates_from)

    def _compares_directly(self, selection: Selection, nprobe: int) -> bool:
        """True where reading each selected vector costs less than scanning cells for them."""
        if selection.count == 0 or selection.count > DIRECT_ROWS:
            return False
        cells = int(self._ivf.nlist)
        visits = cells_to_visit(nprobe, cells, selection.count / self.count, self.count)
        return selection.count * DIRECT_COST < self.count * visits / cells

    def vectors(self, ids: Ids | Sequence[int]) -> Vectors:
        """The unit vectors of these ids, (n, width): the embeddings themselves if they exist, else
        as decoded from the index. KeyError for a missing id."""
        if self.stored is not None:
            return self.stored.get(ids)
        import faiss

        places = self._places[self._positions(ids)]
        found = np.empty((len(ids), self._ivf.d), np.float32)
        for row, (cell, offset) in enumerate(places.tolist()):
            self._ivf.reconstruct_from_offset(cell, offset, faiss.swig_ptr(found[row]))
        if isinstance(self._index, faiss.IndexPreTransform):
            for i in reversed(range(self._index.chain.size())):
                transform = faiss.downcast_VectorTransform(self._index.chain.at(i))
                found = transform.reverse_transform(found)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Vectors = found / np.maximum(lengths, 1e-12)
        return unit

    def _positions(self, ids: Ids | Sequence[int]) -> Ids:
        """The position of each id in the order of all ids; KeyError for a missing id."""
        numbers = np.asarray(ids, np.int64)
        result = np.empty(len(numbers), np.int64)
        for block in np.unique(numbers >> ROW_BITS).tolist():
            of_block = numbers >> ROW_BITS == block
            rows = numbers[of_block] & ((1 << ROW_BITS) - 1)
            absent = rows >= self.table.rows_of(block)
            if absent.any():
                raise KeyError(int(numbers[of_block][absent][0]))
            result[of_block] = self._starts[block] + rows
        return result

    def all_ids(self) -> Ids:
        """Every id, ascending."""
        blocks = [
            vector_id(block.block, 0) + np.arange(block.vectors, dtype=np.int64)
            for block in self.about.blocks
        ]
        return np.concatenate([np.empty(0, np.int64), *blocks])

    def sample(self, seed: int, count: int, selection: Selection | None) -> Ids:
        """The first `count` ids of the random order that `seed` gives.

        A longer list begins with the shorter one, so that a reader can scroll on.
        """
        allowed = self.count if selection is None else selection.count
        wanted, chosen = min(count, allowed), dict[int, None]()
        if selection is not None and allowed < self.count * RARE:
            # Few draws would hit: shuffle all selected ids instead.
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


def open_collections(
    folders: Sequence[Path], embeddings: Sequence[Path] = ()
) -> dict[str, Collection]:
    """The indices by name: the folder's name, or its parent's if the folder is called `index`.

    An index of the texts inside one of images follows it as NAME-captions.
    """
    opened: dict[str, Collection] = {}
    for folder in folders:
        name = _name(folder, set(opened))
        opened[name] = Collection(folder, name, embeddings)
        if (folder / TEXT / ABOUT).exists():
            of_texts = name + CAPTIONS
            opened[of_texts] = Collection(folder / TEXT, of_texts, embeddings, metadata=folder)
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

    index = open_index(folder)
    lists = faiss.downcast_InvertedLists(_ivf(index).invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        # Its read-ahead starts 32 threads for every query, which costs more than reading the lists.
        lists.prefetch_nthread = 0
    return index


def _ivf(index: Any) -> Any:
    import faiss

    return faiss.downcast_index(faiss.extract_index_ivf(index))


def _open_places(path: Path, count: int) -> npt.NDArray[np.uint32]:
    # numpy cannot map an array of length 0.
    places = open_array(path, "run `index merge` again", mapped=count > 0)
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
