"""Lays out a block's metadata for the search service: one memory-mapped row per vector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.files.atomic import atomic
from laion_hpc.files.index_folder import BATCH_ROWS, FORMAT
from laion_hpc.files.ledger import Ledger
from laion_hpc.files.tables import parquet_schema, read_parquet
from laion_hpc.stages.index.embeddings import Block, open_block
from laion_hpc.web.url import host_of

COLUMNS = {
    "key": "key",
    "url": "url",
    "caption": "caption",
    "similarity": "similarity",
    "language": "language",
    "language_class": "language_class",
    "license": "license",
    "page_url": "page_url",
    "width": "original_width",
    "height": "original_height",
    "nsfw": "nsfw",
}
"""Columns that search shows, and their names in `embed`. `host` and the tags are added."""

_FILL: dict[str, Any] = {"string": "", "float": float("nan"), "int32": 0, "int64": 0}


def lay_out(folder: Path, tags: Path, output: Path, *, block: int, digest: str) -> Ledger:
    """Write the block's Arrow file and its ledger; InputError if keys differ.

    The record batches are uncompressed and have `BATCH_ROWS` rows: the service finds a row by
    division and reads it through the page cache, and keeps none of it in memory.
    """
    embeddings = open_block(folder)
    source = ledger.fingerprint("metadata", FORMAT, embeddings.fingerprint, tags, str(block))
    book_path = ledger.path_of(output)
    if done := ledger.finished(book_path, config=digest, source=source):
        return done
    tagged = read_parquet(tags, "run `tag` again")
    if tagged.num_rows != embeddings.rows:
        raise InputError(
            f"{tags}: {tagged.num_rows} rows, but {folder} holds {embeddings.rows} vectors; "
            "run `tag` again"
        )
    schema = _schema(embeddings, tagged.schema)
    rows = 0
    with (
        atomic(output) as aside,
        pa.OSFile(str(aside), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for table in _regular(_joined(embeddings, tagged, tags, schema), schema):
            rows += table.num_rows
            for batch in table.combine_chunks().to_batches():
                writer.write_batch(batch)
    book = Ledger(
        stage="index",
        unit="samples",
        inputs=embeddings.rows,
        kept=rows,
        config=digest,
        source=source,
        about={"block": block},
        files=(ledger.describe(output, rows=rows),),
    )
    book.write(book_path)
    return book


def _schema(embeddings: Block, tags: pa.Schema) -> pa.Schema:
    """The columns to write: those that the samples have, the host, the tags.

    A tag of the same name (nsfw) wins: it was made later.
    """
    tables = embeddings.tables()
    fields: dict[str, pa.Field[Any]] = {"key": pa.field("key", pa.string())}
    there: set[str] = set()
    if tables and tables[0].exists():
        there = set(parquet_schema(tables[0], "run `embed` again").names)
    kinds: dict[str, pa.DataType] = {"similarity": pa.float32()}
    kinds |= {"width": pa.int32(), "height": pa.int32()}
    for name, origin in COLUMNS.items():
        # Without any shard: the usual columns.
        if origin in there or not there:
            fields[name] = pa.field(name, kinds.get(name, pa.string()))
    fields["host"] = pa.field("host", pa.string())
    for field in tags:
        if field.name != "key":
            fields[field.name] = pa.field(field.name, field.type)
    return pa.schema(fields.values())


def _joined(
    embeddings: Block, tagged: pa.Table, tags: Path, schema: pa.Schema
) -> Iterator[pa.Table]:
    """One table per shard, its samples beside their tags."""
    start = 0
    for path, length in zip(embeddings.tables(), embeddings.lengths, strict=True):
        samples = read_parquet(path, "run `embed` again")
        if samples.num_rows != length:
            raise InputError(f"{path}: {samples.num_rows} rows, but {length} vectors")
        own = tagged.slice(start, length)
        _check_keys(samples["key"], own["key"], path, tags)
        yield _columns(samples, own, schema)
        start += length


def _check_keys(
    ours: pa.ChunkedArray[Any], theirs: pa.ChunkedArray[Any], path: Path, tags: Path
) -> None:
    if ours.combine_chunks().equals(theirs.combine_chunks()):
        return
    pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
    row, (key, other) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    raise InputError(
        f"{path}: row {row} is {key}, but {tags} has {other} in its place; run `tag` again"
    )


def _columns(samples: pa.Table, tagged: pa.Table, schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        if field.name == "host":
            column: Any = pa.array(
                [host_of(url or "") for url in samples["url"].to_pylist()], pa.string()
            )
        elif field.name != "key" and field.name in tagged.column_names:
            column = tagged[field.name]
        else:
            column = samples[COLUMNS[field.name]]
        column = column.cast(field.type)
        fill = _FILL.get(str(field.type))
        # No nulls: a filter reads a column as a plain array.
        arrays.append(column.fill_null(fill) if fill is not None else column)
    return pa.table(arrays, schema=schema)


def _regular(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables of `BATCH_ROWS`; the last table holds the rest."""
    waiting = schema.empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table])
        while waiting.num_rows >= BATCH_ROWS:
            yield waiting.slice(0, BATCH_ROWS)
            waiting = waiting.slice(BATCH_ROWS)
    if waiting.num_rows:
        yield waiting
