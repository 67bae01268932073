"""Shards that are there already, of links that are the same but for some that were taken down.

Nothing is fetched again: the samples that were taken down leave tar and table, the others stay
byte for byte. So a take-down costs the reading of a block's tables and the writing of few shards.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.errors import InputError
from laion_hpc.files import ledger, tombstones
from laion_hpc.files.atomic import atomic
from laion_hpc.files.ledger import File, Ledger
from laion_hpc.files.schemas import SAMPLE
from laion_hpc.files.shards import ShardWriter
from laion_hpc.files.shards import read_shard as read_tar
from laion_hpc.files.tables import read_parquet
from laion_hpc.stages.download import outcomes
from laion_hpc.stages.download.inputs import read_shard
from laion_hpc.stages.download.lane import Download, shard_source


def adopt(job: Download, shard: int) -> Ledger | None:
    """The ledger of a shard made from an earlier version of the input, brought up to date.

    None if there is no such shard, or if another config or other links made it: it
    must be downloaded.
    """
    path = job.output / f"{shard:05d}.ledger.json"
    try:
        before = ledger.read(path)
        table = read_parquet(path.with_name(f"{shard:05d}.parquet"), schema=SAMPLE)
    except (InputError, OSError):
        return None
    gone = _gone(table, read_shard(job.source, shard))
    if before.config != job.config or gone is None:
        return None
    gone |= _bodies(table, job.taken_down)
    # A job killed here leaves the old ledger, with files that may be new already.
    changes = int(gone.sum()) != before.dropped.get(tombstones.REASON, 0)
    whole = ledger.finished(path, config=before.config, source=before.source) is not None
    files: tuple[File, ...] | None = before.files
    if changes:
        table = buried(table, gone)
        files = _rewritten(path, table, before)
    elif not whole:
        return None
    if files is None:
        return None
    reasons = Counter(table["error_message"].to_pylist())
    book = replace(
        before,
        kept=reasons.pop("", 0),
        dropped=dict(reasons),
        source=shard_source(job.fingerprint, shard),
        files=files,
    )
    book.write(path)
    return book


def _rewritten(path: Path, table: pa.Table, before: Ledger) -> tuple[File, ...] | None:
    """Write the shard's table, and its tar with the successes only; None if samples are missing."""
    table_path = path.with_name(path.name.replace(".ledger.json", ".parquet"))
    tar = table_path.with_suffix(".tar")
    entries = {entry.name: entry for entry in before.files}
    if tar.exists():
        keys = table["key"].filter(pc.equal(table["status"], outcomes.SUCCESS)).to_pylist()
        try:
            _keep_only(set(keys), tar)
        except InputError:
            return None
        entries[tar.name] = ledger.describe(tar, rows=len(keys))
    elif tar.name not in ledger.removed(tar.parent):
        return None
    with atomic(table_path) as aside:
        pq.write_table(table, aside, compression="zstd")
    entries[table_path.name] = ledger.describe(table_path, rows=table.num_rows)
    return tuple(entries.values())


def buried(table: pa.Table, gone: tombstones.Mask) -> pa.Table:
    """A shard's table with the rows under `gone` as tombstones with the outcome `taken_down`."""
    if not gone.any():
        return table
    mask = pa.array(gone)
    table = tombstones.bury_samples(table, gone)
    for name, text in (
        ("status", outcomes.status_of(tombstones.REASON)),
        ("error_message", tombstones.REASON),
    ):
        place = table.schema.get_field_index(name)
        column = pc.if_else(mask, text, table[name].combine_chunks())
        table = table.set_column(place, SAMPLE.field(name), column)
    return table


def _gone(table: pa.Table, links: pa.Table) -> tombstones.Mask | None:
    """Which rows of a shard's table are tombstones among `links`; None if other rows differ."""
    if table.num_rows != links.num_rows or not table["key"].equals(links["key"]):
        return None
    gone = tombstones.are_tombstones(links["url"]).to_numpy()
    stays = pa.array(~gone)
    for name in links.schema.names:
        if not table[name].filter(stays).equals(links[name].filter(stays)):
            return None
    return np.array(gone, np.bool_)


def _bodies(table: pa.Table, taken_down: frozenset[str]) -> tombstones.Mask:
    """Which rows' bodies have one of these hashes."""
    hashes = pa.array(sorted(taken_down), pa.string())
    found = pc.or_(pc.is_in(table["sha256"], hashes), pc.is_in(table["md5"], hashes))
    return np.array(found.to_numpy(), np.bool_)


def _keep_only(keys: set[str], tar: Path) -> None:
    """Write a tar anew with these samples; InputError if it lacks one."""
    with atomic(tar) as aside:
        with ShardWriter(aside) as writer:
            for sample in read_tar(tar):
                if sample.key in keys:
                    keys.discard(sample.key)
                    writer.add(sample)
        if keys:
            raise InputError(f"{tar}: has no sample {min(keys)}")
