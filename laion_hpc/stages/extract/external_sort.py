"""Candidates on their way into a segment's file: sorted by block, spilled, merged.

Each WAT leaves one or more runs: Arrow files whose record batch b holds the WAT's candidates of
block b. Merging reads batch b of every run and writes row group b, so that a segment never has
to fit into memory: one block of it does, in each of the processes that share the blocks. (Arrow's
footer is a few bytes per batch where Parquet's is kilobytes per row group: 900 WATs × 500 blocks
are opened and read in seconds.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files import tombstones
from laion_hpc.files.atomic import atomic
from laion_hpc.files.schemas import CANDIDATE
from laion_hpc.files.tables import reading
from laion_hpc.files.takedown_list import Takedowns

AGAIN = "run `extract` again"

_ADDED = ("crawl", "segment", "wat")
"""The same for all rows of a WAT: added when merging."""

RUN = pa.schema([field for field in CANDIDATE if field.name not in _ADDED])
"""The rows of a run: CANDIDATE without the columns that are the same for a whole WAT."""

_REPEATED = [name for name in CANDIDATE.names if name not in ("url", "text", "record_offset")]
"""Columns whose values come again and again. A dictionary of the others costs time and room."""

RUN_ROWS = 1 << 19
"""Candidates held in memory before they are written as a run; a usual WAT gives fewer."""


class Candidates:
    """Collects the candidates of one WAT and writes them as runs `PREFIX.0.arrow`, `.1.` …"""

    def __init__(self, prefix: Path, blocks: int) -> None:
        self._prefix, self._blocks = prefix, blocks
        self._tables: list[pa.RecordBatch] = []
        self._block: list[npt.NDArray[np.int32]] = []
        self._held = 0
        self.runs: list[tuple[Path, int]] = []
        """Files written so far, with their rows."""

    def add(self, rows: pa.RecordBatch, block: npt.NDArray[np.int32]) -> None:
        """Rows of `RUN`, and the block of each."""
        if not rows.num_rows:
            return
        self._tables.append(rows)
        self._block.append(block)
        self._held += rows.num_rows
        if self._held >= RUN_ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left; without any candidate there is one empty run."""
        if self._held or not self.runs:
            self._write()

    def _write(self) -> None:
        path = self._prefix.with_name(f"{self._prefix.name}.{len(self.runs)}.arrow")
        block = np.concatenate([*self._block, np.empty(0, np.int32)])
        order = pa.array(np.argsort(block, kind="stable"))
        whole = pa.Table.from_batches(self._tables, RUN).take(order).combine_chunks()
        ends = np.cumsum(np.bincount(block, minlength=self._blocks))
        with atomic(path) as aside:
            _write_batches(aside, whole, [0, *ends.tolist()])
        self.runs.append((path, self._held))
        self._tables, self._block, self._held = [], [], 0


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


def merge(
    sources: Sequence[Source],
    output: Path,
    *,
    blocks: Iterable[int],
    crawl: str,
    segment: str,
    takedowns: Takedowns | None = None,
) -> int:
    """Write the row groups of some blocks of a segment from its WATs' runs; returns the rows.

    Each holds the candidates of a block (or none) in the order of `sources`, then of their runs;
    what is taken down is a tombstone. Holds one block in memory. The caller makes it atomic.
    """
    rows = 0
    with pq.ParquetWriter(
        str(output), CANDIDATE, compression="zstd", use_dictionary=_REPEATED
    ) as writer:
        for block in blocks:
            tables = list(_block(sources, block, crawl, segment))
            table = pa.concat_tables(tables) if tables else CANDIDATE.empty_table()
            # One chunk: pages end where the rows say, so that the rows alone decide the bytes.
            table = _without(table, takedowns).combine_chunks()
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
    return rows


def _without(table: pa.Table, takedowns: Takedowns | None) -> pa.Table:
    if not takedowns:
        return table
    mask = tombstones.covered(table["url"].to_pylist(), table["host"].to_pylist(), takedowns)
    return tombstones.bury_links(table, mask) if mask.any() else table


def _block(sources: Sequence[Source], block: int, crawl: str, segment: str) -> Iterator[pa.Table]:
    for source in sources:
        constants = {"crawl": crawl, "segment": segment, "wat": source.wat}
        for path in source.runs:
            with reading(path, AGAIN), pa.OSFile(str(path)) as file:
                batch = pa.ipc.open_file(file).get_batch(block)
            if batch.num_rows:
                columns = [
                    pa.repeat(constants[field.name], batch.num_rows)
                    if field.name in constants
                    else batch.column(field.name)
                    for field in CANDIDATE
                ]
                yield pa.Table.from_arrays(columns, schema=CANDIDATE)
