"""Adds one block's vectors to the trained index. It writes the lists alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.index_folder import FORMAT, Modality, vector_id
from laion_hpc.files.ledger import Ledger
from laion_hpc.runtime.progress import progress
from laion_hpc.stages.index.embeddings import open_block
from laion_hpc.stages.index.quantisers import encode_into, one_thread_each


def add(
    trained: Path, folder: Path, output: Path, *, block: int, digest: str, threads: int = 1
) -> Ledger:
    """Write the inverted lists of the block in `folder` to `output`, and its ledger.

    A vector's id is `block · 2³² + row`. Its row is its position over the shards, sorted by name.
    The file holds no copy of the trained part: with LAION-5B's key a copy takes 0.4 GB, in each
    of 500 blocks.
    """
    import faiss

    embeddings = open_block(folder, modality_of(trained))
    source = ledger.fingerprint("add", FORMAT, trained, embeddings.fingerprint, str(block))
    book_path = ledger.path_of(output)
    if done := ledger.finished(book_path, config=digest, source=source):
        return done
    index = read_trained(trained)
    if embeddings.width not in (0, index.d):
        raise InputError(
            f"{folder}: vectors of {embeddings.width} numbers, but {trained} has {index.d}"
        )
    with (
        progress(f"add {folder.name}", embeddings.rows, "vectors") as shown,
        one_thread_each(threads) as pool,
    ):
        for first, vectors in embeddings.chunks():
            ids = vector_id(block, 0) + np.arange(first, first + len(vectors), dtype=np.int64)
            encode_into(index, vectors, ids, pool)
            shown.advance(len(vectors))
    ivf = faiss.extract_index_ivf(index)
    with atomic(output) as aside:
        write_lists(ivf.invlists, aside)
    book = Ledger(
        stage="index",
        unit="vectors",
        inputs=embeddings.rows,
        kept=ivf.ntotal,
        config=digest,
        source=source,
        about={
            "block": block,
            "embeddings": embeddings.fingerprint,
            "trained": ledger.fingerprint(trained),
        },
        files=(ledger.describe(output, rows=ivf.ntotal),),
    )
    book.write(book_path)
    return book


def modality_of(trained: Path) -> Modality:
    """The modality of a trained index, from its ledger."""
    book = ledger.path_of(trained)
    if not trained.exists():
        raise InputError(f"{trained}: no such file; make it with `index train`")
    if not book.exists():
        raise InputError(f"{trained}: no {book.name} beside it; make both with `index train`")
    return "text" if ledger.read(book).about.get("modality") == "text" else "image"


def read_trained(path: Path) -> Any:
    """The trained, empty index; InputError if the file is invalid."""
    import faiss

    if not path.exists():
        raise InputError(f"{path}: no such file; make it with `index train`")
    try:
        index = faiss.read_index(str(path))
        if faiss.try_extract_index_ivf(index) is None or index.ntotal:
            raise InputError(f"{path}: not a trained, empty index of the IVF family")
    except RuntimeError:
        raise InputError(f"{path}: the faiss index is incomplete; make it again") from None
    return index


def write_lists(lists: Any, path: Path) -> None:
    """Write inverted lists as faiss serialises them."""
    import faiss

    writer = faiss.FileIOWriter(str(path))
    faiss.write_InvertedLists(lists, writer)
    del writer  # closes the file


def map_lists(path: Path) -> Any:
    """The inverted lists in a file, memory-mapped; InputError if the file is invalid."""
    import faiss

    try:
        reader = faiss.FileIOReader(str(path))
        lists = faiss.read_InvertedLists(reader, faiss.IO_FLAG_MMAP)
    except RuntimeError:
        raise InputError(
            f"{path}: the block of an index is incomplete; run `index add` again"
        ) from None
    return faiss.downcast_InvertedLists(lists)
