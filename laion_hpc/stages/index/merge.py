"""Merges the blocks' lists on disk into one memory-mapped index that can be moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic, write_bytes
from laion_hpc.files.index_folder import ABOUT, ROW_BITS, About, BlockAbout, Names, names_of
from laion_hpc.files.ledger import Ledger
from laion_hpc.runtime.progress import progress
from laion_hpc.stages.index.add import map_lists, modality_of, read_trained


@dataclass(frozen=True)
class AddedBlock:
    """A block that `index add` made: its file and its ledger."""

    path: Path
    book: Ledger

    @property
    def number(self) -> int:
        """The block's number."""
        return int(self.book.about["block"])


def merge(
    trained: Path,
    paths: Sequence[Path],
    output: Path,
    *,
    model: ModelConfig,
    digest: str,
) -> Ledger:
    """Write the index, its lists, its places (`names_of`), index.json and manifest.json.

    The blocks may come in any order; the result is the same. It reads and writes each list
    once, by memory maps. Memory holds the trained index and 16 bytes for each vector of one
    block.
    """
    added = _added(trained, paths)
    source = ledger.fingerprint("merge", trained, *(block.book.source for block in added))
    manifest = output / ledger.MANIFEST
    if done := ledger.finished(manifest, config=digest, source=source):
        return done
    index = read_trained(trained)
    modality = modality_of(trained)
    names = names_of(modality)
    for name in (ledger.MANIFEST, ABOUT, names.index):
        # A killed merge must not leave an old table beside new lists.
        (output / name).unlink(missing_ok=True)
    total = _write_index(index, added, output, names)
    About(
        key=str(ledger.read(ledger.path_of(trained)).about["key"]),
        dimension=index.d,
        count=total,
        metric="inner_product",
        model=model.model_dump(),
        trained=ledger.fingerprint(trained),
        blocks=tuple(
            BlockAbout(block.number, block.book.kept, str(block.book.about["embeddings"]))
            for block in added
        ),
        modality=modality,
    ).write(output)
    book = Ledger(
        stage="index",
        unit="vectors",
        inputs=sum(block.book.kept for block in added),
        kept=total,
        config=digest,
        source=source,
        counts={"blocks": len(added), "bytes": (output / names.lists).stat().st_size},
        files=tuple(
            ledger.describe(output / name, rows=rows)
            for name, rows in (
                (names.index, 0),
                (names.lists, total),
                (names.places, total),
                (ABOUT, 0),
            )
        ),
    )
    book.write(manifest)
    return book


def _added(trained: Path, paths: Sequence[Path]) -> list[AddedBlock]:
    """The blocks in the order of their numbers; InputError if one is of another trained index."""
    expected = ledger.fingerprint(trained)
    added: dict[int, AddedBlock] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such block; make it with `index add`")
        block = AddedBlock(path, ledger.read(ledger.path_of(path)))
        if block.book.about.get("trained") != expected:
            raise InputError(f"{path}: added to another trained index; run `index add` again")
        if block.number in added:
            raise InputError(f"{path}: block {block.number} is also in {added[block.number].path}")
        added[block.number] = block
    return [added[number] for number in sorted(added)]


def _write_index(index: Any, added: Sequence[AddedBlock], output: Path, names: Names) -> int:
    import faiss

    ivf = faiss.extract_index_ivf(index)
    all_lists = []
    for block in added:
        lists = map_lists(block.path)
        if (lists.nlist, lists.code_size) != (ivf.nlist, ivf.code_size):
            raise InputError(f"{block.path}: its lists are of another index; run `index add` again")
        all_lists.append(lists)
    _write_places(added, all_lists, ivf.nlist, output / names.places)
    total = sum(block.book.kept for block in added)
    if total == 0:
        # There is nothing to map: the empty lists of the trained index suffice.
        write_bytes(output / names.lists, b"")
    else:
        with atomic(output / names.lists) as aside:
            merged = faiss.OnDiskInvertedLists(ivf.nlist, ivf.code_size, str(aside))
            pointers = faiss.InvertedListsPtrVector()
            for lists in all_lists:
                pointers.push_back(lists)
            written = merged.merge_from_multiple(pointers.data(), pointers.size(), False)
            if written != total:
                raise InputError(
                    f"the blocks hold {written} vectors, but their ledgers list {total}; "
                    "run `index add` again"
                )
            # Readers look for it beside the index, in any folder.
            merged.filename = names.lists
            ivf.replace_invlists(merged, False)
        index.ntotal = ivf.ntotal = total
    with atomic(output / names.index) as aside:
        faiss.write_index(index, str(aside))
    return total


def _write_places(
    added: Sequence[AddedBlock], all_lists: Sequence[Any], cells: int, path: Path
) -> None:
    """The place of each vector, (total, 2) uint32 of list and offset, in the order of ids.

    It takes 8 bytes a vector on disk. With it an id gives its vector in constant time ("more like
    this", removing duplicates) without faiss' table in memory.
    """
    total = sum(block.book.kept for block in added)
    before = np.zeros(cells, np.int64)
    with atomic(path) as aside, aside.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<u4", "fortran_order": False, "shape": (total, 2)}
        )
        with progress("places", total, "vectors") as shown:
            for block, lists in zip(added, all_lists, strict=True):
                stream.write(_places_of(block, lists, before).tobytes())
                shown.advance(block.book.kept)


def _places_of(
    block: AddedBlock, lists: Any, before: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint32]:
    """(rows of the block, 2); `before` counts the vectors of earlier blocks in each list."""
    import faiss

    rows = block.book.kept
    places = np.full((rows, 2), 0xFFFFFFFF, np.uint32)
    seen = 0
    for cell in range(len(before)):
        size = lists.list_size(cell)
        if size == 0:
            continue
        ids = faiss.rev_swig_ptr(lists.get_ids(cell), size)
        row = ids & ((1 << ROW_BITS) - 1)
        if (ids >> ROW_BITS != block.number).any() or row.max() >= rows:
            raise InputError(f"{block.path}: it holds ids of another block than {block.number}")
        places[row, 0] = cell
        places[row, 1] = before[cell] + np.arange(size)
        before[cell] += size
        seen += size
    if seen != rows or (places[:, 0] == 0xFFFFFFFF).any():
        raise InputError(f"{block.path}: its ids are not 0 … {rows - 1}; run `index add` again")
    return places
