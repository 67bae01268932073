"""Replaces links in the tables of `extract` and `shuffle` by tombstones, in place.

The tables keep their times of modification. Later jobs run again because the list changed for their
block, not because a table that all blocks share is newer.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.files import ledger, tombstones
from laion_hpc.files.atomic import atomic
from laion_hpc.files.tables import open_parquet
from laion_hpc.files.takedown_list import Takedowns
from laion_hpc.run.takedown.find import Table


def redact(table: Table, *, takedowns: Takedowns) -> None:
    """Rewrite a table with tombstones and bring its ledger up to date.

    The bytes equal those that the stage writes with the list in force. After a kill at any moment,
    the same call finishes the work.
    """
    path = table.path
    book = ledger.path_of(path)
    classes: Counter[str] = Counter()
    with open_parquet(path) as file, atomic(path) as aside:
        with pq.ParquetWriter(
            str(aside), file.schema_arrow, compression="zstd", use_dictionary=_dictionaries(file)
        ) as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group).combine_chunks()
                if group in table.groups:
                    urls, hosts = rows["url"].to_pylist(), rows["host"].to_pylist()
                    mask = tombstones.covered(urls, hosts, takedowns)
                    classes.update(rows["language_class"].filter(pa.array(mask)).to_pylist())
                    if "key" in rows.schema.names:
                        rows = tombstones.bury_samples(rows, mask)
                    else:
                        rows = tombstones.bury_links(rows, mask)
                writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        _keep_times(path, aside)
        # The ledger comes first. After a kill in between, the links are found again.
        entry = replace(ledger.describe(aside, rows=file.metadata.num_rows), name=path.name)
        _vouch(book, entry, classes)


def _dictionaries(file: pq.ParquetFile) -> list[str]:
    """The columns that have dictionaries. Writing them in the same way keeps the bytes equal."""
    metadata = file.metadata
    return [
        name
        for number, name in enumerate(file.schema_arrow.names)
        if any(
            "RLE_DICTIONARY" in metadata.row_group(group).column(number).encodings
            for group in range(metadata.num_row_groups)
        )
    ]


def _vouch(book: Path, entry: ledger.File, gone: Counter[str]) -> None:
    """Bring a ledger up to date. `shuffle` counts languages of links only, not of tombstones."""
    if not book.exists():
        return
    before = ledger.read(book)
    counts = dict(before.counts)
    if before.stage == "shuffle" and not any(entry == file for file in before.files):
        left = Counter(counts["kept_by_class"])
        left.subtract(gone)
        counts["kept_by_class"] = {name: n for name, n in left.items() if n}
    files = tuple(entry if file.name == entry.name else file for file in before.files)
    times = book.stat()
    replace(before, files=files, counts=counts).write(book)
    os.utime(book, ns=(times.st_atime_ns, times.st_mtime_ns))


def _keep_times(source: Path, target: Path) -> None:
    times = source.stat()
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
