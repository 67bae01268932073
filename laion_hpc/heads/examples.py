"""Joins embeddings and labels, to train and measure a head on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import xxhash
from numpy.typing import NDArray

from laion_hpc.errors import InputError
from laion_hpc.files.tables import open_embeddings, read_parquet, reading

NO_LABEL = "no_label"
NO_EMBEDDING = "no_embedding"
REPEATED = "repeated_key"
CONFLICTING = "conflicting_labels"
NOT_FINITE = "not_finite"
DUPLICATE = "duplicate_embedding"

TRAIN, HELD_OUT = "train", "held-out"
"""Values of the column that marks rows as held out."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns of the tables."""

    label: str = "label"
    key: str = "key"
    split: str = ""
    """Holds TRAIN or HELD_OUT; empty: no such column."""
    embedding: str = "embedding"
    """In a parquet file of embeddings: lists of numbers."""


@dataclass(frozen=True)
class Examples:
    """Labelled embeddings, in the order of the embeddings."""

    embeddings: NDArray[np.floating[Any]]
    """(n, width), as stored."""
    labels: NDArray[np.float64]
    """(n,)"""
    held_out: NDArray[np.bool_] | None = None
    """(n,), if there is a column for it."""
    inputs: int = 0
    """Rows of the table of labels: `n + Σ dropped`."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows of labels that could not be used, by reason."""
    unlabelled: int = 0
    """Embeddings without a label; they are not used."""


def read_examples(embeddings: Path, labels: Path, columns: Columns) -> Examples:
    """Embeddings with their labels.

    `embeddings`: a folder with `img_emb/*.npy` and `metadata/*.parquet` (of `embed` or of
    clip-retrieval, or one above several such), a `.npy` (n, width), or a parquet with lists.
    `labels`: parquet or csv. They are joined by key (`image_path` in the metadata), or row for row
    if the labels have no keys. InputError if a file is damaged or the two cannot be joined.
    """
    table = _read_labels(labels, columns)
    inputs = table.num_rows
    parts = list(_parts(embeddings, columns))
    keyed = columns.key in table.column_names
    if keyed and any(part.keys is None for part in parts):
        raise InputError(
            f"{labels} has the column {columns.key}, but {embeddings} has no keys: leave that "
            "column out to join them row for row"
        )
    dropped: Counter[str] = Counter()
    whole = np.isfinite(_numbers(table, columns.label, labels))
    if columns.split:
        _check_split(table, columns.split, labels)
    dropped[NO_LABEL] = int((~whole).sum())
    if keyed:
        x, rows = _by_key(parts, table.filter(pa.array(whole)), columns, labels, dropped)
        table = table.filter(pa.array(whole)).take(pa.array(rows))
    else:
        rows_there = sum(part.rows for part in parts)
        if rows_there != table.num_rows:
            raise InputError(
                f"{labels}: {table.num_rows} rows for the {rows_there} embeddings of {embeddings}, "
                f"and no column {columns.key} to join them by"
            )
        x = np.concatenate([part.read(None) for part in parts])[whole]
        table = table.filter(pa.array(whole))
    unlabelled = sum(part.rows for part in parts) - len(x) if keyed else 0
    keep = np.isfinite(x).all(axis=1)
    dropped[NOT_FINITE] = int((~keep).sum())
    keep[keep] = first = _first_of_equal(x[keep])
    dropped[DUPLICATE] = int((~first).sum())
    if not keep.any():
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items() if n)
        raise InputError(f"{labels}: no label can be used: {reasons}")
    table = table.filter(pa.array(keep))
    return Examples(
        embeddings=x[keep],
        labels=_numbers(table, columns.label, labels),
        held_out=_held_out(table, columns),
        inputs=inputs,
        dropped={reason: n for reason, n in sorted(dropped.items()) if n},
        unlabelled=unlabelled,
    )


@dataclass(frozen=True)
class _Part:
    """One file of embeddings and the keys of its rows."""

    path: Path
    rows: int
    width: int
    keys: pa.ChunkedArray | None
    array: NDArray[np.floating[Any]]

    def read(self, rows: NDArray[np.int64] | None) -> NDArray[np.floating[Any]]:
        """The embeddings, or those of some rows."""
        return np.asarray(self.array if rows is None else self.array[rows])


def _parts(source: Path, columns: Columns) -> Iterator[_Part]:
    if source.is_dir():
        files = sorted(source.rglob("img_emb_*.npy"))
        if not files:
            raise InputError(f"{source}: holds no img_emb/img_emb_*.npy; is it a block of `embed`?")
    elif source.suffix in (".npy", ".parquet"):
        files = [source]
    else:
        raise InputError(f"{source}: no folder of embeddings, .npy or .parquet")
    first: _Part | None = None
    for path in files:
        part = _read_part(path, source.is_dir(), columns)
        if first is not None and part.width != first.width:
            raise InputError(
                f"{path}: embeddings of {part.width} numbers, but in {first.path} they have "
                f"{first.width}; they are of different models"
            )
        first = first or part
        yield part


def _read_part(path: Path, in_block: bool, columns: Columns) -> _Part:
    if path.suffix == ".parquet":
        return _read_lists(path, columns)
    array = open_embeddings(path)
    keys = None
    if in_block:
        shard = path.stem.removeprefix("img_emb_")
        metadata = path.parent.parent / "metadata" / f"metadata_{shard}.parquet"
        keys = read_parquet(metadata, "run `embed` again", columns=["image_path"])["image_path"]
        if len(keys) != len(array):
            raise InputError(f"{path}: {len(array)} embeddings for {len(keys)} rows of {metadata}")
    return _Part(path, len(array), array.shape[1], keys, array)


def _read_lists(path: Path, columns: Columns) -> _Part:
    """Embeddings in a column of a parquet file."""
    table = read_parquet(path)
    if columns.embedding not in table.column_names:
        raise InputError(
            f"{path}: no column {columns.embedding}; it has {', '.join(table.column_names)}"
        )
    lists = table[columns.embedding].combine_chunks()
    kind = lists.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_fixed(kind)) or not (
        pa.types.is_floating(kind.value_type)
    ):
        raise InputError(f"{path}: {columns.embedding} is {kind}, expected lists of numbers")
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if lists.null_count or (len(lists) and len(values) % len(lists)):
        raise InputError(f"{path}: {columns.embedding} holds lists of different lengths, or none")
    if not _is_fixed(kind) and len(pc.unique(pc.list_value_length(lists))) > 1:
        raise InputError(f"{path}: {columns.embedding} holds lists of different lengths")
    array = values.reshape(len(lists), -1 if len(lists) else 1)
    keys = table[columns.key] if columns.key in table.column_names else None
    return _Part(path, len(array), array.shape[1], keys, array)


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))


def _by_key(
    parts: list[_Part], table: pa.Table, columns: Columns, labels: Path, dropped: Counter[str]
) -> tuple[NDArray[np.floating[Any]], list[int]]:
    """The embeddings that have a label, and the row of each in the table."""
    rows = _one_row_per_key(table, columns, dropped)
    known = table[columns.key].take(pa.array(rows, pa.int64()))
    arrays, taken = [], []
    used = np.zeros(len(rows), np.bool_)
    for part in parts:
        found = pc.index_in(pc.cast(part.keys, known.type), value_set=known.combine_chunks())
        where = pc.fill_null(found, -1).to_numpy()
        # A key that two embeddings have counts once.
        mine = np.flatnonzero(where >= 0)
        _, at = np.unique(where[mine], return_index=True)
        mine = np.sort(mine[at])
        mine = mine[~used[where[mine]]]
        used[where[mine]] = True
        arrays.append(part.read(mine))
        taken += [rows[place] for place in where[mine].tolist()]
    dropped[NO_EMBEDDING] = int((~used).sum())
    if not taken:
        theirs = next((part.keys[0] for part in parts if part.keys), None)
        mine_too = known[0] if len(known) else None
        raise InputError(
            f"{labels}: none of its keys is among the embeddings; it has keys such as "
            f"{mine_too}, the embeddings such as {theirs}"
        )
    return np.concatenate(arrays), taken


def _one_row_per_key(table: pa.Table, columns: Columns, dropped: Counter[str]) -> list[int]:
    """The first row of every key; none for a key with two different labels."""
    keys, values = table[columns.key].to_pylist(), table[columns.label].to_pylist()
    first: dict[Any, int] = {}
    conflicting = set()
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        if first.setdefault(key, row) != row and value != values[first[key]]:
            conflicting.add(key)
    counts = Counter(key for key in keys if key in conflicting)
    dropped[CONFLICTING] = counts.total()
    dropped[REPEATED] = len(keys) - len(first) - (counts.total() - len(conflicting))
    return [row for key, row in first.items() if key not in conflicting]


def _first_of_equal(x: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """False for a row that is equal to an earlier one: it must not be in both parts of a split."""
    seen: set[bytes] = set()
    first = np.zeros(len(x), np.bool_)
    for number, row in enumerate(np.ascontiguousarray(x)):
        digest = xxhash.xxh3_128_digest(row)
        first[number] = digest not in seen
        seen.add(digest)
    return first


def _read_labels(path: Path, columns: Columns) -> pa.Table:
    if path.suffix == ".csv":
        with reading(path):
            table = pyarrow.csv.read_csv(path)
    elif path.suffix == ".parquet":
        table = read_parquet(path)
    else:
        raise InputError(f"{path}: labels are a .parquet or .csv file")
    for name in (columns.label, *([columns.split] if columns.split else [])):
        if name not in table.column_names:
            raise InputError(f"{path}: no column {name}; it has {', '.join(table.column_names)}")
    wanted = dict.fromkeys((columns.key, columns.label, columns.split))
    return table.select([name for name in wanted if name in table.column_names])


def _numbers(table: pa.Table, name: str, path: Path) -> NDArray[np.float64]:
    """A column of numbers or booleans as floats, NaN where there is none."""
    column = table[name]
    try:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{path}: {name} is {column.type}; labels are numbers, 0 and 1") from None


def _check_split(table: pa.Table, name: str, path: Path) -> None:
    odd = {*table[name].to_pylist()} - {TRAIN, HELD_OUT}
    if odd:
        raise InputError(f"{path}: {name} is {sorted(map(str, odd))[0]}, not {TRAIN} or {HELD_OUT}")


def _held_out(table: pa.Table, columns: Columns) -> NDArray[np.bool_] | None:
    if not columns.split:
        return None
    return np.array([part == HELD_OUT for part in table[columns.split].to_pylist()], np.bool_)
