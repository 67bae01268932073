"""Parquet parts of even size; their row groups and index make remote reading fast."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files.atomic import atomic

ROW_GROUP_BYTES = 128 << 20
"""Uncompressed. Hugging Face's viewer scans at most 300 MB of a row group, and a reader over
the network wants few and large requests: 100 … 300 MB."""


def part_name(block: int, part: int) -> str:
    """File name of a part: `part-0007-000.parquet`."""
    return f"part-{block:04d}-{part:03d}.parquet"


def part_sizes(rows: int, rows_per_part: int) -> list[int]:
    """Sizes of the fewest parts of at most `rows_per_part` rows, even to within one row."""
    parts = -(-rows // rows_per_part)
    if not parts:
        return []
    size, longer = divmod(rows, parts)
    return [size + (part < longer) for part in range(parts)]


class PartsWriter:
    """Writes `rows` rows, given in any portions, as even parts of one folder.

    The number of rows must be known beforehand, to make the parts even. Without rows there is no
    file. Every part appears whole or not at all. `parts` lists the parts written, with their rows.

    A thread of `pool` encodes the row groups, one at a time and in order, while the next one is
    gathered. The bytes are the same without it. That thread gives `seen` the rows of each, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        block: int,
        rows: int,
        schema: pa.Schema,
        rows_per_part: int,
        pool: Executor | None = None,
        seen: Callable[[pa.Table], None] | None = None,
    ) -> None:
        self.parts: list[tuple[Path, int]] = []
        self._folder, self._block, self._schema = folder, block, schema
        self._sizes = part_sizes(rows, rows_per_part)
        self._pool, self._seen = pool, seen
        self._running: Future[None] | None = None
        self._open: ExitStack = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._left = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; columns beyond the schema are ignored."""
        table = table.select(self._schema.names).cast(self._schema)
        while table.num_rows:
            if self._writer is None:
                self._start()
            portion = table.slice(0, self._left)
            table = table.slice(portion.num_rows)
            self._left -= portion.num_rows
            self._waiting.append(portion)
            self._waiting_bytes += portion.nbytes
            if self._waiting_bytes >= ROW_GROUP_BYTES:
                self._flush()
            if not self._left:
                self._finish()

    def _start(self) -> None:
        if len(self.parts) == len(self._sizes):
            raise AssertionError(f"{self._folder}: more rows than announced")
        path = self._folder / part_name(self._block, len(self.parts))
        self._left = self._sizes[len(self.parts)]
        aside = self._open.enter_context(atomic(path))
        self._writer = self._open.enter_context(
            pq.ParquetWriter(
                aside,
                self._schema,
                compression="zstd",
                write_page_index=True,
                # The content decides where pages end: a store that deduplicates chunks keeps
                # once what two versions of the dataset share.
                use_content_defined_chunking=True,
            )
        )

    def _flush(self) -> None:
        if self._waiting and self._writer is not None:
            self._wait()
            if self._pool is None:
                self._write_group(self._writer, self._waiting)
            else:
                self._running = self._pool.submit(self._write_group, self._writer, self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def _write_group(self, writer: pq.ParquetWriter, tables: list[pa.Table]) -> None:
        table = pa.concat_tables(tables)
        if self._seen is not None:
            self._seen(table)
        writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def _wait(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.result()

    def _finish(self) -> None:
        self._flush()
        self._wait()
        number = len(self.parts)
        self._open.close()
        self._writer = None
        name = part_name(self._block, number)
        self.parts.append((self._folder / name, self._sizes[number]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:  # after an error: nobody else waits for it
            wait([self._running])
        self._open.__exit__(kind, error, trace)
        if error is None and len(self.parts) != len(self._sizes):
            raise AssertionError(f"{self._folder}: fewer rows than announced")
