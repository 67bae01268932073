"""Second reading of a block: the rows that stay, in their new order, cut into shards."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.atomic import glob_escape
from laion_hpc.schemas import CANDIDATE, KEYED_CANDIDATE
from laion_hpc.shuffle.survey import batches

BUCKET_ROWS = 1 << 18
"""Rows put in order in memory at a time: some 150 MB. A longer block is first dealt out to
buckets on disk, each a stretch of the new order."""

_PLACE = pa.field("place", pa.int64())


def sample_key(crawl: str, block: int, shard: int, index: int) -> str:
    """The key of a sample, unique in the dataset."""
    return f"{crawl}-{block:04d}-{shard:05d}-{index:05d}"


def write_block(
    parts: Sequence[Path],
    block: int,
    order: npt.NDArray[np.int64],
    rows: int,
    output: Path,
    *,
    crawl: str,
    samples_per_shard: int,
    scratch: Path,
) -> Counter[str]:
    """Write the block's rows in `order` (row numbers in reading order, out of `rows`).

    Row group s of `output` is shard s. Returns the kept rows by language class. Buckets lie in
    a folder `.NAME.*.spill` in `scratch` meanwhile. The caller makes `output` atomic.
    """
    place = np.full(rows, -1, np.int64)
    place[order] = np.arange(len(order))
    shards_per_bucket = max(BUCKET_ROWS // samples_per_shard, 1)
    bucket_rows = shards_per_bucket * samples_per_shard
    classes: Counter[str] = Counter()

    def write_bucket(table: pa.Table, number: int) -> None:
        table = table.take(pc.sort_indices(table.column("place")))
        for value in pc.value_counts(table.column("language_class")).to_pylist():
            classes[value["values"]] += value["counts"]
        table = table.drop_columns("place")
        for start in range(0, table.num_rows, samples_per_shard):
            shard = number * shards_per_bucket + start // samples_per_shard
            piece = table.slice(start, samples_per_shard)
            keys = [sample_key(crawl, block, shard, index) for index in range(piece.num_rows)]
            keyed = pa.Table.from_arrays(
                [pa.array(keys, pa.string()), *piece.columns], schema=KEYED_CANDIDATE
            )
            writer.write_table(keyed, row_group_size=samples_per_shard)

    with pq.ParquetWriter(str(output), KEYED_CANDIDATE, compression="zstd") as writer:
        kept = _placed(parts, block, place)
        if len(order) <= bucket_rows:
            tables = list(kept)
            if len(order):
                write_bucket(pa.concat_tables(tables), 0)
        else:
            _by_bucket(kept, bucket_rows, len(order), scratch, output.name, write_bucket)
    return classes


def _placed(parts: Sequence[Path], block: int, place: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
    """The rows that stay, in reading order, with their place in the new order."""
    position = 0
    for batch in batches(parts, block, CANDIDATE.names):
        here = place[position : position + batch.num_rows]
        position += batch.num_rows
        stays = here >= 0
        if stays.any():
            table = pa.Table.from_batches([batch]).filter(pa.array(stays))
            yield table.append_column(_PLACE, pa.array(here[stays]))


def _by_bucket(
    tables: Iterator[pa.Table],
    bucket_rows: int,
    total: int,
    scratch: Path,
    name: str,
    write_bucket: Callable[[pa.Table, int], None],
) -> None:
    buckets = -(-total // bucket_rows)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", suffix=".spill", dir=scratch) as folder:
        paths = [Path(folder) / f"{number:05d}.arrow" for number in range(buckets)]
        schema = pa.schema([*CANDIDATE, _PLACE])
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with ExitStack() as stack:
            writers = [
                stack.enter_context(pa.ipc.new_file(str(path), schema, options=options))
                for path in paths
            ]
            for table in tables:
                bucket = table.column("place").to_numpy() // bucket_rows
                by_bucket = np.argsort(bucket, kind="stable")
                ends = np.searchsorted(bucket[by_bucket], np.arange(buckets + 1))
                table = table.take(pa.array(by_bucket)).cast(schema)
                for number, (start, end) in enumerate(pairwise(ends)):
                    if end > start:
                        writers[number].write_table(table.slice(start, end - start))
        for number, path in enumerate(paths):
            with pa.OSFile(str(path)) as file:
                write_bucket(pa.ipc.open_file(file).read_all(), number)
            path.unlink()


def remove_spills(scratch: Path, name: str) -> None:
    """Remove what a killed attempt at the same output left behind."""
    for folder in scratch.glob(f".*{glob_escape(name)}*.spill"):
        shutil.rmtree(folder, ignore_errors=True)
