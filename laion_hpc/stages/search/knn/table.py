"""The metadata of an index, memory-mapped: a row by its id, columns for filters."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laion_hpc.errors import InputError
from laion_hpc.files.index_folder import BATCH_ROWS, About, block_and_row, metadata_name
from laion_hpc.files.tables import open_arrow

Reader = Callable[[int], Any]
FORMATS: dict[str, Any] = {"int32": "i", "int64": "q", "float": "f", "double": "d"}
"""Arrow's number types and their codes in memoryviews."""
SURVEYED_BATCHES = 100
"""Batches, spread over all blocks, that the counts of languages are taken from: 6.5 M rows."""


class Table:
    """One row per vector of an index.

    Opening reads only the files' footers. A batch that has been read takes about 25 KB of memory
    for its 65,536 rows; the rows stay in the system's page cache.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self._blocks = {
            entry.block: _Block(folder / metadata_name(entry.block), entry.vectors)
            for entry in about.blocks
        }
        schemas = [block.schema for block in self._blocks.values()]
        if any(schema != schemas[0] for schema in schemas):
            raise InputError(
                f"{folder / 'metadata'}: blocks with different columns; run `index metadata` again"
            )
        self.schema: pa.Schema = schemas[0] if schemas else pa.schema([])
        self.columns: tuple[str, ...] = tuple(self.schema.names)

    def has(self, number: int) -> bool:
        """True if there is a row for this id."""
        block, row = block_and_row(number)
        return number >= 0 and block in self._blocks and row < self._blocks[block].rows

    def rows_of(self, block: int) -> int:
        """Rows of a block; 0 if there is no such block."""
        return self._blocks[block].rows if block in self._blocks else 0

    def rows(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of these ids, in their order; a missing number (NaN) is None.

        KeyError for a missing id.
        """
        result = []
        for number in ids:
            if not self.has(number):
                raise KeyError(number)
            block, row = block_and_row(number)
            readers = self._blocks[block].readers(row // BATCH_ROWS)
            row %= BATCH_ROWS
            result.append({name: read(row) for name, read in readers})
        return result

    def take(self, ids: Sequence[int]) -> pa.Table:
        """The same rows as a table of the metadata's own types."""
        parts, order = self._parts(ids)
        return pa.Table.from_batches(parts, self.schema).take(pa.array(order, pa.int64()))

    def numbers(self, ids: Sequence[int], column: str) -> npt.NDArray[Any]:
        """A numeric column of these ids, (n,)."""
        parts, order = self._parts(ids, (column,))
        values = [part.column(0).to_numpy(zero_copy_only=False) for part in parts]
        whole: npt.NDArray[Any] = np.concatenate([np.empty(0, np.float32), *values])
        return whole[order]

    def _parts(
        self, ids: Sequence[int], columns: Sequence[str] = ()
    ) -> tuple[list[pa.RecordBatch], list[int]]:
        """The rows by batch, each batch read once, and the place of each id's row."""
        places: dict[tuple[int, int], list[int]] = defaultdict(list)
        order, ends = [], []
        for number in ids:
            if not self.has(number):
                raise KeyError(number)
            block, row = block_and_row(number)
            wanted = places[block, row // BATCH_ROWS]
            ends.append(((block, row // BATCH_ROWS), len(wanted)))
            wanted.append(row % BATCH_ROWS)
        parts, starts, start = [], {}, 0
        for (block, batch), wanted in places.items():
            whole = self._blocks[block].batch(batch)
            if columns:
                whole = whole.select(list(columns))
            parts.append(whole.take(pa.array(wanted, pa.int64())))
            starts[block, batch] = start
            start += len(wanted)
        order = [starts[place] + offset for place, offset in ends]
        return parts, order

    def batches(self) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """Every batch with its block and the row it starts at."""
        for number, block in self._blocks.items():
            for index in range(block.count):
                yield number, index * BATCH_ROWS, block.batch(index)

    def survey(self, column: str) -> Counter[str]:
        """How often each value of a string column occurs, in batches spread over the blocks."""
        counts: Counter[str] = Counter()
        for array in self._surveyed(column):
            for entry in array.value_counts().to_pylist():
                counts[entry["values"]] += entry["counts"]
        return counts

    def survey_numbers(self, column: str) -> npt.NDArray[Any]:
        """The values of a numeric column in the same batches; empty if there is no such column."""
        arrays = [array.to_numpy(zero_copy_only=False) for array in self._surveyed(column)]
        whole: npt.NDArray[Any] = np.concatenate([np.empty(0, np.float32), *arrays])
        return whole

    def _surveyed(self, column: str) -> Iterator[pa.Array[Any]]:
        if column not in self.columns:
            return
        places = [(block, i) for block in self._blocks.values() for i in range(block.count)]
        for block, index in places[:: max(1, len(places) // SURVEYED_BATCHES)]:
            yield block.batch(index)[column]


class _Block:
    def __init__(self, path: Path, rows: int) -> None:
        self.rows = rows
        self._reader = open_arrow(path, "run `index metadata` again")
        self.schema = self._reader.schema
        self.count = int(self._reader.num_record_batches)
        self._batches: list[pa.RecordBatch | None] = [None] * self.count
        self._readers: dict[int, list[tuple[str, Reader]]] = {}
        self._lock = threading.Lock()
        found = (self.count - 1) * BATCH_ROWS + self.batch(-1).num_rows if self.count else 0
        if found != rows:
            raise InputError(f"{path}: {found} rows for {rows} vectors; run `index metadata` again")

    def readers(self, index: int) -> list[tuple[str, Reader]]:
        """How to read each column of a batch."""
        found = self._readers.get(index)
        if found is None:
            batch = self.batch(index)
            columns = zip(self.schema.names, batch.columns, strict=True)
            found = self._readers[index] = [(name, _reader(column)) for name, column in columns]
        return found

    def batch(self, index: int) -> pa.RecordBatch:
        index %= self.count
        batch = self._batches[index]
        if batch is None:
            with self._lock:  # the reader is not thread-safe; the batches are
                batch = self._batches[index] = self._reader.get_batch(index)
        return batch


def _reader(column: pa.Array[Any]) -> Reader:
    """A value of a column by its row, straight from the mapped file.

    Arrow's own way (`take`, then a conversion) takes some 60 µs per batch, and nearly every row of
    a result lies in another batch. This takes 0.3 µs a value. Columns of types that metadata does
    not use are read Arrow's way.
    """
    kind, buffers = column.type, column.buffers()
    if column.null_count or column.offset or not len(column):
        return lambda row: plain(column[row].as_py())
    if pa.types.is_string(kind):
        ends, text = memoryview(buffers[1]).cast("i"), memoryview(buffers[2] or b"")
        return lambda row: str(text[ends[row] : ends[row + 1]], "utf-8")
    if str(kind) in FORMATS:
        numbers: memoryview[Any] = memoryview(buffers[1]).cast(FORMATS[str(kind)])
        if pa.types.is_floating(kind):
            return lambda row: plain(numbers[row])
        return lambda row: numbers[row]
    return lambda row: plain(column[row].as_py())


def plain(value: Any) -> Any:
    """The value for JSON: None for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
