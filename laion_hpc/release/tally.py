"""How often each value occurs: one pass over the rows of a release, only counts are kept.

Numbers and words are counted row group by row group with numpy, hosts by DuckDB in a scan of the
URLs alone: no column is read twice. Memory is bounded by two row groups, the number of distinct
values and DuckDB's own limit. Sums of counts do not depend on the order: the same release gives
the same numbers whatever the number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from laion_hpc.errors import InputError
from laion_hpc.release.columns import SPLITS
from laion_hpc.release.subsets import rows_of

SHARES = (0.5, 0.8)
"""LAION's thresholds: punsafe above 0.5 is unsafe, pwatermark above 0.8 has a watermark."""
TOP_HOSTS = 100
_DENSE = 1 << 20
"""Smaller numbers are counted in an array; larger ones, which are rare, one by one."""
_FARTHEST = 1000.0
"""A head without a sigmoid may give anything; beyond ± this its histogram is of no use."""
_WORDS = {"language": "LANGUAGE", "license": "license", "crawl": "crawl", "nsfw": "nsfw"}
_IMPLIED = {SPLITS["en"]: "en", SPLITS["nolang"]: ""}
"""Language of the rows of a split without that column."""

_BARE = "split_part(split_part(authority, '?', 1), '#', 1)"
HOST_OF_AUTHORITY = rf"""lower(CASE WHEN contains({_BARE}, '@') OR contains({_BARE}, '[')
    THEN regexp_extract({_BARE}, '^(?:.*@)?(\[[^\]]*\]|[^:]*)', 1)
    ELSE split_part({_BARE}, ':', 1) END)"""
"""The host of a URL, as `hosts.host_of` gives it, of what follows the first two slashes."""


@dataclass
class Tally:
    """How often each value occurs among the rows of one dataset."""

    width: Counter[int] = field(default_factory=Counter)
    height: Counter[int] = field(default_factory=Counter)
    short_side: Counter[int] = field(default_factory=Counter)
    text_length: Counter[int] = field(default_factory=Counter)
    similarity: Counter[int] = field(default_factory=Counter)
    """By hundredths, rounded down: 28 is 0.28 ≤ similarity < 0.29."""
    language: Counter[str] = field(default_factory=Counter)
    license: Counter[str] = field(default_factory=Counter)
    nsfw: Counter[str] = field(default_factory=Counter)
    crawl: Counter[str] = field(default_factory=Counter)
    heads: dict[str, Counter[int]] = field(default_factory=dict)
    """By hundredths too; scores that are no numbers are left out."""
    above: dict[tuple[str, float], int] = field(default_factory=dict)
    """Rows whose head scores more than a threshold."""
    hosts: list[tuple[str, int]] = field(default_factory=list)
    """The most frequent, most frequent first."""
    distinct_hosts: int = 0

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.short_side.total()

    def include(self, other: Tally) -> None:
        """Add the counts of further rows, but for the hosts."""
        for one in fields(self):
            mine = getattr(self, one.name)
            if isinstance(mine, Counter):
                mine.update(getattr(other, one.name))
        for name, counter in other.heads.items():
            self.heads.setdefault(name, Counter()).update(counter)
        for key, n in other.above.items():
            self.above[key] = self.above.get(key, 0) + n


def tally(
    connection: duckdb.DuckDBPyConnection,
    datasets: Mapping[str, Mapping[str, Sequence[Path]]],
    *,
    heads: Sequence[str],
    has_nsfw: bool,
    threads: int = 1,
) -> dict[str, Tally]:
    """The tallies of `all` and of every dataset, in the order of `datasets`.

    `datasets` maps a name to joined files by split (a subset's files under the name `subset`).
    InputError names a file that cannot be read.
    """
    found = {name: Tally() for name in datasets}
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE hosts (dataset VARCHAR, host VARCHAR, n BIGINT)"
    )
    for name, files in datasets.items():
        if any(files.values()):
            found[name] = _tally_values(files, heads, has_nsfw, threads)
            connection.execute(_HOSTS_SQL.format(rows=rows_of(files)), [name])
            found[name].hosts, found[name].distinct_hosts = _top_hosts(connection, name)
    whole = Tally()
    for name in SPLITS.values():
        whole.include(found.get(name, Tally()))
    whole.hosts, whole.distinct_hosts = _top_hosts(connection)
    return {"all": whole, **found}


_HOSTS_SQL = f"""INSERT INTO hosts
    SELECT ?, {HOST_OF_AUTHORITY}, sum(n)::BIGINT FROM (
        SELECT split_part(URL, '/', 3) AS authority, count(*) AS n FROM ({{rows}}) GROUP BY ALL)
    GROUP BY ALL"""
"""Counted by what stands between the slashes; only the distinct ones of these are taken apart."""


def _top_hosts(
    connection: duckdb.DuckDBPyConnection, dataset: str = ""
) -> tuple[list[tuple[str, int]], int]:
    """Top hosts and number of hosts of a dataset, or of the three splits together."""
    names = [dataset] if dataset else list(SPLITS.values())
    marks = ", ".join("?" for _ in names)
    rows = f"SELECT host, sum(n)::BIGINT AS n FROM hosts WHERE dataset IN ({marks}) GROUP BY host"
    top = connection.execute(f"{rows} ORDER BY n DESC, host LIMIT {TOP_HOSTS}", names).fetchall()
    distinct = connection.execute(f"SELECT count(*) FROM ({rows})", names).fetchall()[0][0]
    return [(host, count) for host, count in top], distinct


def _tally_values(
    files: Mapping[str, Sequence[Path]], heads: Sequence[str], has_nsfw: bool, threads: int
) -> Tally:
    """The tally of all files but for the hosts, row group by row group."""
    total = Tally()
    units = []
    for split, paths in files.items():
        for path in paths:
            try:
                groups = pq.read_metadata(path).num_row_groups
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path}: cannot be read ({error}); make it again") from None
            units += [(path, split, group) for group in range(groups)]
    count = partial(_tally_group, heads=heads, has_nsfw=has_nsfw)
    with ThreadPoolExecutor(threads) as pool:
        for one in pool.map(count, units):
            total.include(one)
    return total


def _tally_group(unit: tuple[Path, str, int], *, heads: Sequence[str], has_nsfw: bool) -> Tally:
    path, split, group = unit
    words = {name: column for name, column in _WORDS.items() if name != "nsfw" or has_nsfw}
    if split in _IMPLIED:
        del words["language"]
    with pq.ParquetFile(path, read_dictionary=list(words.values())) as file:
        names = ["WIDTH", "HEIGHT", "TEXT", "similarity", *words.values(), *heads]
        table = file.read_row_group(group, names, use_threads=False)
    found = Tally()
    width, height = (table[name].to_numpy() for name in ("WIDTH", "HEIGHT"))
    found.width, found.height = _counted(width), _counted(height)
    found.short_side = _counted(np.minimum(width, height))
    found.text_length = _counted(pc.utf8_length(table["TEXT"]).to_numpy())
    found.similarity = _hundredths(table["similarity"].to_numpy())
    for name, column in words.items():
        setattr(found, name, _words(table[column]))
    if split in _IMPLIED:
        found.language = Counter({_IMPLIED[split]: table.num_rows})
    for head in heads:
        scores = table[head].to_numpy()
        scores = scores[np.isfinite(scores)]
        found.heads[head] = _hundredths(scores)
        for limit in SHARES:
            found.above[head, limit] = int((scores > np.float32(limit)).sum())
    return found


def _counted(values: npt.NDArray[Any]) -> Counter[int]:
    dense = values[(values >= 0) & (values < _DENSE)]
    counts = np.bincount(dense)
    there = np.flatnonzero(counts)
    found = Counter(dict(zip(there.tolist(), counts[there].tolist(), strict=True)))
    if len(dense) < len(values):
        found.update(values[(values < 0) | (values >= _DENSE)].tolist())
    return found


def _hundredths(scores: npt.NDArray[Any]) -> Counter[int]:
    """By hundredths, rounded down."""
    lowest = int(_FARTHEST * 100)
    wide = np.clip(scores.astype(np.float64), -_FARTHEST, _FARTHEST)
    counts = _counted(np.floor(wide * 100).astype(np.int64) + lowest)
    return Counter({value - lowest: n for value, n in counts.items()})


def _words(column: pa.ChunkedArray) -> Counter[str]:
    found: Counter[str] = Counter()
    for chunk in column.chunks:
        indices = chunk.indices.drop_null().to_numpy(zero_copy_only=False)
        counts = np.bincount(indices, minlength=len(chunk.dictionary)).tolist()
        for word, n in zip(chunk.dictionary.to_pylist(), counts, strict=True):
            if n:
                found[word] += n
    return found
