"""What to download: a parquet of `shuffle`, or any other with a column of URLs, cut in shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.errors import InputError, UsageError
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.tables import open_parquet

URL_COLUMNS = ("url", "URL", "image_url")
TEXT_COLUMNS = ("text", "caption", "TEXT", "CAPTION", "alt", "alt_text")
KEYED = frozenset(["key", "url", "text", "language_class", "crawl"])
"""Columns that tell a file of `shuffle`, whose row group s is shard s, from a user's own."""

_CARRIED = SAMPLE.names[SAMPLE.names.index("md5") + 1 :]
_MISSING: dict[str, Any] = {"license": "?"}
_BATCH = 16_384


@dataclass(frozen=True)
class Source:
    """A parquet and how it is cut into shards."""

    path: Path
    keyed: bool
    url_column: str
    text_column: str
    """Empty: no captions."""
    boxes_column: str
    """Empty: nothing is blurred."""
    sizes: tuple[int, ...]
    """Samples of each shard."""
    starts: tuple[int, ...]
    """First row of each shard in the file."""

    @property
    def samples(self) -> int:
        """All rows of the file."""
        return sum(self.sizes)


def open_source(
    path: Path,
    *,
    url_column: str = "",
    text_column: str = "",
    boxes_column: str = "",
    samples_per_shard: int = 10_000,
) -> Source:
    """Look at a parquet. InputError if it is not one, UsageError if the columns are not there."""
    with _parquet(path) as file:
        names = file.schema_arrow.names
        groups = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        rows = file.metadata.num_rows
    keyed = names.count("key") == 1 and set(names) >= KEYED and not (url_column or text_column)
    if keyed:
        sizes = groups
    else:
        sizes = [
            min(samples_per_shard, rows - first) for first in range(0, rows, samples_per_shard)
        ]
    return Source(
        path,
        keyed,
        _column(path, names, url_column, URL_COLUMNS, "--url-column", needed=True),
        _column(path, names, text_column, TEXT_COLUMNS, "--text-column", needed=False),
        _column(path, names, boxes_column, (), "--blur-column", needed=False),
        tuple(sizes),
        tuple(sum(sizes[:shard]) for shard in range(len(sizes))),
    )


def _column(
    path: Path, names: Sequence[str], given: str, usual: Sequence[str], option: str, *, needed: bool
) -> str:
    if given:
        if given not in names:
            raise UsageError(f"{path}: no column {given!r} ({option}); it has {', '.join(names)}")
        return given
    found = [name for name in usual if name in names]
    if not found and needed:
        raise UsageError(
            f"{path}: which column holds the URLs? Name it with {option}; "
            f"the file has {', '.join(names)}"
        )
    return found[0] if found else ""


def read_shard(source: Source, shard: int) -> pa.Table:
    """The rows of a shard: key, url, caption and the columns of SAMPLE that the input decides.

    Missing columns and null values become empty strings, zeros and false; `license` becomes ?.
    """
    with _parquet(source.path) as file:
        present = [name for name in _CARRIED if name in file.schema_arrow.names]
        wanted = {source.url_column, source.text_column, *present, *(["key"] * source.keyed)}
        columns = sorted(wanted - {""})
        try:
            table = _rows(file, columns, source.starts[shard], source.sizes[shard])
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{source.path}: cannot be read ({error})") from None
    rows = table.num_rows
    if rows != source.sizes[shard]:
        raise InputError(f"{source.path}: ends within shard {shard:05d}; is it still written to?")
    made: dict[str, Any] = {
        "key": _strings(source, table, "key")
        if source.keyed
        else pa.array([f"{shard:05d}{row:05d}" for row in range(rows)], pa.string()),
        "url": _strings(source, table, source.url_column),
        "caption": _strings(source, table, source.text_column)
        if source.text_column
        else pa.array([""] * rows, pa.string()),
    }
    for name in _CARRIED:
        kind = SAMPLE.field(name).type
        missing = _MISSING.get(name, _zero(kind))
        if name in table.column_names:
            made[name] = pc.fill_null(_cast(source, table, name, kind), pa.scalar(missing, kind))
        else:
            made[name] = pa.repeat(pa.scalar(missing, kind), rows)
    if source.keyed:
        _check_keys(source, made["key"])
    return pa.table(made)


def read_boxes(source: Source, shard: int) -> list[Any] | None:
    """The boxes to blur of each row, [[left, top, right, bottom], …]; None without the column."""
    if not source.boxes_column:
        return None
    name = source.boxes_column
    with _parquet(source.path) as file:
        table = _rows(file, [name], source.starts[shard], source.sizes[shard])
    boxes = _cast(source, table, name, pa.list_(pa.list_(pa.float64()))).to_pylist()
    return [row or [] for row in boxes]


def _rows(file: pq.ParquetFile, columns: list[str], start: int, size: int) -> pa.Table:
    """Rows `start` … `start + size`, reading batch by batch: row groups may be huge."""
    groups: list[int] = []
    skip = first = 0
    for group in range(file.num_row_groups):
        last = first + file.metadata.row_group(group).num_rows
        if first < start + size and last > start:
            if not groups:
                skip = start - first
            groups.append(group)
        first = last
    schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    batches, left = [], size
    for batch in file.iter_batches(_BATCH, row_groups=groups, columns=columns):
        part = batch.slice(skip, left)
        skip = max(0, skip - batch.num_rows)
        left -= part.num_rows
        batches.append(part.select(columns))
        if not left:
            break
    return pa.Table.from_batches(batches, schema)


def _strings(source: Source, table: pa.Table, name: str) -> Any:
    return pc.fill_null(_cast(source, table, name, pa.string()), "")


def _cast(source: Source, table: pa.Table, name: str, kind: pa.DataType) -> Any:
    try:
        return table.column(name).cast(kind)
    except pa.ArrowException as error:
        raise InputError(
            f"{source.path}: column {name!r} cannot be read as {kind}: {error}"
        ) from None


def _zero(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0


def _check_keys(source: Source, keys: Any) -> None:
    # A dot ends the key in a tar member's name, a slash its folder.
    bad = pc.any(pc.match_substring_regex(keys, r"^$|[./\\\s]")).as_py()
    if bad or pc.count_distinct(keys).as_py() != len(keys):
        raise InputError(
            f"{source.path}: the keys of a shard must be unique, without dots, slashes and spaces"
        )


def _parquet(path: Path) -> pq.ParquetFile:
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name one parquet file")
    return open_parquet(path, "name a parquet file")
