"""The metadata of an index, memory-mapped: a row by its id, columns for filters."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from laion_hpc.errors import InputError
from laion_hpc.index_folder import BATCH_ROWS, About, block_and_row, metadata_name

SURVEYED_BATCHES = 100
"""Batches, spread over all blocks, that the counts of languages are taken from: 6.5 M rows."""


class Table:
    """One row per vector of an index.

    Nothing is read at opening but the files' footers. A batch that has been touched costs about
    5 KB of memory for its 65,536 rows; the rows themselves stay in the system's page cache.
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
        self.columns: tuple[str, ...] = tuple(schemas[0].names) if schemas else ()

    def has(self, number: int) -> bool:
        """True if there is a row for this id."""
        block, row = block_and_row(number)
        return number >= 0 and block in self._blocks and row < self._blocks[block].rows

    def rows(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of these ids, in their order; a missing number (NaN) is None.

        KeyError for an id that is not there.
        """
        places: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for position, number in enumerate(ids):
            if not self.has(number):
                raise KeyError(number)
            block, row = block_and_row(number)
            places[block, row // BATCH_ROWS].append((position, row % BATCH_ROWS))
        result: list[dict[str, Any]] = [{} for _ in ids]
        for (block, batch), wanted in places.items():
            rows = self._blocks[block].batch(batch).take(pa.array([row for _, row in wanted]))
            for (position, _), row in zip(wanted, rows.to_pylist(), strict=True):
                result[position] = {name: _plain(value) for name, value in row.items()}
        return result

    def batches(self) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """Every batch with its block and the row it starts at."""
        for number, block in self._blocks.items():
            for index in range(block.count):
                yield number, index * BATCH_ROWS, block.batch(index)

    def survey(self, column: str) -> Counter[str]:
        """How often each value of a string column occurs, in batches spread over the blocks."""
        places = [(block, i) for block in self._blocks.values() for i in range(block.count)]
        counts: Counter[str] = Counter()
        if column in self.columns:
            for block, index in places[:: max(1, len(places) // SURVEYED_BATCHES)]:
                for entry in block.batch(index)[column].value_counts().to_pylist():
                    counts[entry["values"]] += entry["counts"]
        return counts


class _Block:
    def __init__(self, path: Path, rows: int) -> None:
        self.rows = rows
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; make it with `index metadata`") from None
        except pa.ArrowException as error:
            raise InputError(
                f"{path}: not a whole Arrow file ({error}); run `index metadata` again"
            ) from None
        self.schema = self._reader.schema
        self.count = int(self._reader.num_record_batches)
        self._batches: list[pa.RecordBatch | None] = [None] * self.count
        self._lock = threading.Lock()
        found = (self.count - 1) * BATCH_ROWS + self.batch(-1).num_rows if self.count else 0
        if found != rows:
            raise InputError(f"{path}: {found} rows for {rows} vectors; run `index metadata` again")

    def batch(self, index: int) -> pa.RecordBatch:
        index %= self.count
        batch = self._batches[index]
        if batch is None:
            with self._lock:  # the reader is not made for threads, what it returns is
                batch = self._batches[index] = self._reader.get_batch(index)
        return batch


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
