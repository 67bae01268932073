"""Candidates on their way into a segment's file: sorted by block, spilled, merged.

Each WAT leaves one or more runs: Arrow files whose record batch b holds the WAT's candidates of
block b. Merging reads batch b of every run and writes row group b, so that a segment never has
to fit into memory: one block of it does. (Arrow's footer is a few bytes per batch where
Parquet's is kilobytes per row group: 900 WATs × 500 blocks are opened and read in seconds.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.atomic import atomic
from laion_hpc.hosts import block_of
from laion_hpc.schemas import CANDIDATE

_ADDED = ("crawl", "segment", "wat")
"""The same for all rows of a WAT: added when merging."""

RUN = pa.schema([field for field in CANDIDATE if field.name not in _ADDED])
"""The rows of a run: CANDIDATE without the columns that are the same for a whole WAT."""

RUN_ROWS = 1 << 19
"""Candidates held in memory before they are written as a run; a usual WAT gives fewer."""

_FLUSH_ROWS = 1 << 14
"""Rows held as Python objects, which are ten times the size of Arrow's."""


class Candidates:
    """Collects the candidates of one WAT and writes them as runs `PREFIX.0.arrow`, `.1.` …"""

    def __init__(self, prefix: Path, blocks: int) -> None:
        self._prefix, self._blocks = prefix, blocks
        self._rows: list[tuple[Any, ...]] = []
        self._block: list[int] = []
        self._tables: list[pa.Table] = []
        self._held = 0
        self.runs: list[tuple[Path, int]] = []
        """Files written so far, with their rows."""

    def add(self, row: tuple[Any, ...]) -> None:
        """A row of `RUN`, its values in the order of the schema; its first is the URL."""
        self._rows.append(row)
        self._block.append(block_of(row[0], self._blocks))
        if len(self._rows) >= _FLUSH_ROWS:
            self._flush()
            if self._held >= RUN_ROWS:
                self._write()

    def close(self) -> None:
        """Write what is left; without any candidate there is one empty run."""
        self._flush()
        if self._held or not self.runs:
            self._write()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [
            pa.array(values, field.type)
            for values, field in zip(zip(*self._rows, strict=True), RUN, strict=True)
        ]
        table = pa.Table.from_arrays(columns, schema=RUN)
        self._tables.append(table.append_column("block", pa.array(self._block, pa.int32())))
        self._held += len(self._rows)
        self._rows, self._block = [], []

    def _write(self) -> None:
        path = self._prefix.with_name(f"{self._prefix.name}.{len(self.runs)}.arrow")
        if self._tables:
            table = pa.concat_tables(self._tables)
            block = table.column("block").to_numpy()
            table = table.drop_columns("block").take(pa.array(np.argsort(block, kind="stable")))
        else:
            table, block = RUN.empty_table(), np.empty(0, np.int32)
        ends = np.cumsum(np.bincount(block, minlength=self._blocks))
        with atomic(path) as aside:
            _write_batches(aside, table.combine_chunks(), [0, *ends.tolist()])
        self.runs.append((path, self._held))
        self._tables, self._held = [], 0


def _write_batches(path: Path, table: pa.Table, bounds: Sequence[int]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    batches = table.to_batches()
    whole = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=RUN)
    with pa.ipc.new_file(str(path), RUN, options=options) as writer:
        for start, end in pairwise(bounds):
            writer.write_batch(whole.slice(start, end - start))


class Source(NamedTuple):
    """The runs of one WAT, in order, and the WAT's name."""

    wat: str
    runs: Sequence[Path]


def merge(sources: Sequence[Source], output: Path, *, blocks: int, crawl: str, segment: str) -> int:
    """Write the segment's file from its WATs' runs; returns the number of rows.

    Row group b holds the candidates of block b (0 … blocks-1, empty ones too) in the order of
    `sources`, then of their runs. Holds one block in memory. The caller makes it atomic.
    """
    rows = 0
    with pq.ParquetWriter(str(output), CANDIDATE, compression="zstd") as writer:
        for block in range(blocks):
            tables = list(_block(sources, block, crawl, segment))
            table = pa.concat_tables(tables) if tables else CANDIDATE.empty_table()
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
    return rows


def _block(sources: Sequence[Source], block: int, crawl: str, segment: str) -> Iterator[pa.Table]:
    for source in sources:
        constants = {"crawl": crawl, "segment": segment, "wat": source.wat}
        for path in source.runs:
            with pa.OSFile(str(path)) as file:
                batch = pa.ipc.open_file(file).get_batch(block)
            if batch.num_rows:
                columns = [
                    pa.repeat(constants[field.name], batch.num_rows)
                    if field.name in constants
                    else batch.column(field.name)
                    for field in CANDIDATE
                ]
                yield pa.Table.from_arrays(columns, schema=CANDIDATE)
