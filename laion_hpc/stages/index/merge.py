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
class Part:
    """A block to merge: its file and its ledger."""

    path: Path
    book: Ledger

    @property
    def block(self) -> int:
        """The block's number."""
        return int(self.book.counts["block"])


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
    once, by memory maps: what it needs in memory is the trained index and 16 bytes for each
    vector of one block.
    """
    parts = _parts(trained, paths)
    source = ledger.fingerprint("merge", trained, *(part.book.source for part in parts))
    manifest = output / ledger.MANIFEST
    if done := ledger.finished(manifest, config=digest, source=source):
        return done
    index = read_trained(trained)
    modality = modality_of(trained)
    names = names_of(modality)
    for name in (ledger.MANIFEST, ABOUT, names.index):
        # A killed merge must not leave an old table beside new lists.
        (output / name).unlink(missing_ok=True)
    total = _write_index(index, parts, output, names)
    About(
        key=str(ledger.read(ledger.path_of(trained)).counts["key"]),
        dimension=index.d,
        count=total,
        metric="inner_product",
        model=model.model_dump(),
        trained=ledger.fingerprint(trained),
        blocks=tuple(
            BlockAbout(part.block, part.book.kept, str(part.book.counts["embeddings"]))
            for part in parts
        ),
        modality=modality,
    ).write(output)
    book = Ledger(
        stage="index",
        unit="vectors",
        inputs=sum(part.book.kept for part in parts),
        kept=total,
        config=digest,
        source=source,
        counts={"blocks": len(parts), "bytes": (output / names.lists).stat().st_size},
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


def _parts(trained: Path, paths: Sequence[Path]) -> list[Part]:
    """The blocks in the order of their numbers, each checked to be of this trained index."""
    expected = ledger.fingerprint(trained)
    parts: dict[int, Part] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such block; make it with `index add`")
        part = Part(path, ledger.read(ledger.path_of(path)))
        if part.book.counts.get("trained") != expected:
            raise InputError(f"{path}: was added to another trained index; run `index add` again")
        if part.block in parts:
            raise InputError(f"{path}: block {part.block} again, also in {parts[part.block].path}")
        parts[part.block] = part
    return [parts[block] for block in sorted(parts)]


def _write_index(index: Any, parts: Sequence[Part], output: Path, names: Names) -> int:
    import faiss

    ivf = faiss.extract_index_ivf(index)
    all_lists = []
    for part in parts:
        lists = map_lists(part.path)
        if (lists.nlist, lists.code_size) != (ivf.nlist, ivf.code_size):
            raise InputError(f"{part.path}: lists of another index; run `index add` again")
        all_lists.append(lists)
    _write_places(parts, all_lists, ivf.nlist, output / names.places)
    total = sum(part.book.kept for part in parts)
    if total == 0:
        # There is nothing to map: the empty lists of the trained index will do.
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
                    f"the blocks hold {written} vectors, their ledgers tell of {total}; "
                    "run `index add` again"
                )
            # Readers look for it beside the index, whatever the folder is called then.
            merged.filename = names.lists
            ivf.replace_invlists(merged, False)
        index.ntotal = ivf.ntotal = total
    with atomic(output / names.index) as aside:
        faiss.write_index(index, str(aside))
    return total


def _write_places(parts: Sequence[Part], all_lists: Sequence[Any], cells: int, path: Path) -> None:
    """Where each vector lies, (total, 2) uint32 of list and offset, in the order of ids.

    With 8 bytes a vector on disk it makes the way from an id to its vector constant-time
    ("more like this", removing duplicates) without faiss' table in memory.
    """
    total = sum(part.book.kept for part in parts)
    before = np.zeros(cells, np.int64)
    with atomic(path) as aside, aside.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<u4", "fortran_order": False, "shape": (total, 2)}
        )
        with progress("places", total, "vectors") as shown:
            for part, lists in zip(parts, all_lists, strict=True):
                stream.write(_places_of(part, lists, before).tobytes())
                shown.advance(part.book.kept)


def _places_of(part: Part, lists: Any, before: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """(rows of the block, 2); `before` counts what earlier blocks put in each list."""
    import faiss

    rows = part.book.kept
    places = np.full((rows, 2), 0xFFFFFFFF, np.uint32)
    seen = 0
    for cell in range(len(before)):
        size = lists.list_size(cell)
        if size == 0:
            continue
        ids = faiss.rev_swig_ptr(lists.get_ids(cell), size)
        row = ids & ((1 << ROW_BITS) - 1)
        if (ids >> ROW_BITS != part.block).any() or row.max() >= rows:
            raise InputError(f"{part.path}: ids that are not of block {part.block}")
        places[row, 0] = cell
        places[row, 1] = before[cell] + np.arange(size)
        before[cell] += size
        seen += size
    if seen != rows or (places[:, 0] == 0xFFFFFFFF).any():
        raise InputError(f"{part.path}: its ids are not 0 … {rows - 1}; run `index add` again")
    return places
