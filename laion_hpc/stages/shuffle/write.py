"""Second reading of a block: the rows that stay, in their new order, cut into shards."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.files import tombstones
from laion_hpc.files.atomic import glob_escape, is_left
from laion_hpc.files.schemas import CANDIDATE, KEYED_CANDIDATE
from laion_hpc.files.tables import reading
from laion_hpc.stages.shuffle.prefetch import ahead
from laion_hpc.stages.shuffle.survey import REPEATED, batches

BUCKET_ROWS = 1 << 19
"""Rows put in order in memory at a time: some 300 MB. A longer block is first dealt out to
buckets on disk, each a stretch of the new order."""

_PLACE = pa.field("place", pa.int32())


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
    place = np.full(rows, -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    shards_per_bucket = max(BUCKET_ROWS // samples_per_shard, 1)
    bucket_rows = shards_per_bucket * samples_per_shard
    classes: Counter[str] = Counter()
    shard = 0
    with (
        pq.ParquetWriter(
            str(output), KEYED_CANDIDATE, compression="zstd", use_dictionary=[*REPEATED, "title"]
        ) as writer,
        tempfile.TemporaryDirectory(
            prefix=f".{output.name}.", suffix=".spill", dir=scratch
        ) as folder,
    ):
        for table in ahead(_in_order(parts, block, place, bucket_rows, len(order), Path(folder))):
            classes.update(_classes(table))
            for start in range(0, table.num_rows, samples_per_shard):
                piece = table.slice(start, samples_per_shard)
                keyed = _keyed(piece, sample_key(crawl, block, shard, 0)[: -len("00000")])
                writer.write_table(keyed, row_group_size=samples_per_shard)
                shard += 1
    return classes


def _keyed(rows: pa.Table, prefix: str) -> pa.Table:
    """The rows of a shard with their keys; a row that was taken down keeps its place only."""
    numbers = pc.cast(pa.array(np.arange(rows.num_rows)), pa.string())
    numbers = pc.utf8_lpad(numbers, 5, padding="0")
    keys = pc.binary_join_element_wise(prefix, numbers, "")
    columns = [column.cast(pa.string()) if name in REPEATED else column
               for name, column in zip(rows.schema.names, rows.columns, strict=True)]  # fmt: skip
    keyed = pa.Table.from_arrays([keys, *columns], schema=KEYED_CANDIDATE)
    # One chunk: the rows alone decide where pages end, and so the bytes.
    return tombstones.bury_tombstones(keyed).combine_chunks()


def _classes(rows: pa.Table) -> Counter[str]:
    links = pc.invert(tombstones.are_tombstones(rows.column("url")))
    counts = pc.value_counts(rows.column("language_class").filter(links).cast(pa.string()))
    return Counter({value["values"]: value["counts"] for value in counts.to_pylist()})


def _in_order(
    parts: Sequence[Path],
    block: int,
    place: npt.NDArray[np.int32],
    bucket_rows: int,
    total: int,
    folder: Path,
) -> Iterator[pa.Table]:
    """The rows that stay, in their new order, a bucket at a time."""
    buckets = -(-total // bucket_rows)
    if buckets <= 1:
        pieces = [rows for rows, _ in ahead(_by_bucket(parts, block, place, bucket_rows, 1))]
        if pieces:
            yield _sorted(pa.Table.from_batches(pieces))
        return
    paths = [folder / f"{number:05d}.arrow" for number in range(buckets)]
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for rows, ends in ahead(_by_bucket(parts, block, place, bucket_rows, buckets)):
            for number, (start, end) in enumerate(pairwise(ends)):
                if end == start:
                    continue
                if number not in writers:
                    writers[number] = stack.enter_context(
                        pa.ipc.new_stream(str(paths[number]), rows.schema, options=options)
                    )
                writers[number].write_batch(rows.slice(start, end - start))
    for path in paths:
        with reading(path), pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all()
        path.unlink()
        yield _sorted(table)


def _by_bucket(
    parts: Sequence[Path], block: int, place: npt.NDArray[np.int32], bucket_rows: int, buckets: int
) -> Iterator[tuple[pa.RecordBatch, list[int]]]:
    """The rows that stay, with their place, bucket by bucket, and where each bucket ends."""
    position = 0
    for batch in batches(parts, block, CANDIDATE.names):
        here = place[position : position + batch.num_rows]
        position += batch.num_rows
        stays = np.flatnonzero(here >= 0)
        bucket = here[stays] // bucket_rows
        by_bucket = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[by_bucket], np.arange(buckets + 1))
        chosen = stays[by_bucket]
        rows = batch.take(pa.array(chosen)).append_column(_PLACE, pa.array(here[chosen]))
        yield rows, ends.tolist()


def _sorted(rows: pa.Table) -> pa.Table:
    by_place = np.argsort(rows.column("place").to_numpy())
    return rows.drop_columns("place").take(pa.array(by_place))


def remove_spills(scratch: Path, name: str) -> None:
    """Remove what a killed attempt at the same output left behind."""
    for folder in scratch.glob(f".*{glob_escape(name)}*.spill"):
        if is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
