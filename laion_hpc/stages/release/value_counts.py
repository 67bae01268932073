"""Counts each value in the rows of a dataset, while they are written.

A block counts what it writes (`counting`) into two tables beside its ledger, one of all numbers and
words, one of the hosts; `merge` adds up those of any number of blocks: so `statistics.json`
needs no pass over the data. All counts are exact, and sums do not depend on the order: the same
rows give the same numbers in any blocks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from laion_hpc.errors import InputError
from laion_hpc.files.tables import parquet_schema
from laion_hpc.stages.release.columns import SPLITS

SHARES = (0.5, 0.8)
"""LAION's thresholds: punsafe above 0.5 is unsafe, pwatermark above 0.8 has a watermark."""
TOP_HOSTS = 100
COUNTS = pa.schema(
    [
        pa.field("dataset", pa.string()),
        pa.field("name", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("word", pa.string()),
        pa.field("n", pa.int64()),
    ]
)
"""A row for each value in a dataset: a number, or a word (then number is 0)."""
HOSTS = ("split", "host", "n")
"""Columns of the table of hosts: the rows of a split that each has. A column for each subset, with
its name, follows: the number of these rows that are in it."""

_FARTHEST = 1000.0
"""A head without a sigmoid may give any number; its histogram ends at ± this."""
_SHIFT = int(_FARTHEST * 100) + 1
_WORDS = {"language": "LANGUAGE", "license": "license", "crawl": "crawl", "nsfw": "nsfw"}


@dataclass(frozen=True)
class Coded:
    """One thing that is counted of rows, as whole numbers.

    A code is an index of `words`, or stands for the number `code - shift`. A word None is not
    counted, nor is the code 0 if there is a shift.
    """

    name: str
    codes: npt.NDArray[Any]
    shift: int = 0
    words: Sequence[str | None] = ()


def coded(table: pa.Table, heads: Sequence[str], implied: str | None) -> list[Coded]:
    """All that is counted of rows of the joined release, except their hosts.

    `implied`: the language of all of them, if they have no such column.
    """
    width, height = (table[name].to_numpy() for name in ("WIDTH", "HEIGHT"))
    found = [
        Coded("width", width),
        Coded("height", height),
        Coded("short_side", np.minimum(width, height)),
        Coded("text_length", pc.utf8_length(table["TEXT"]).to_numpy()),
        Coded("similarity", _hundredths(table["similarity"].to_numpy()), _SHIFT),
    ]
    for head in heads:
        scores = table[head].to_numpy()
        found.append(Coded(f"head/{head}", _hundredths(scores), _SHIFT))
        above = sum((scores > np.float32(limit)).view(np.int8) for limit in SHARES)
        above[~np.isfinite(scores)] = 0
        found.append(Coded(f"above/{head}", above))
    for name, column in _WORDS.items():
        if name == "language" and implied is not None:
            found.append(Coded(name, np.zeros(table.num_rows, np.int8), words=[implied]))
        elif column in table.schema.names:
            encoded = table[column].dictionary_encode().combine_chunks()
            words = [*encoded.dictionary.to_pylist(), None]
            codes = encoded.indices.fill_null(len(words) - 1).to_numpy()
            found.append(Coded(name, codes, words=words))
    return found


@dataclass
class Tally:
    """How often each value occurs among the rows of one dataset."""

    numbers: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """width, height, short_side and text_length; by hundredths rounded down (28 is 0.28 ≤ value
    < 0.29) similarity and head/NAME, without scores that are NaN; and
    above/NAME, how many of SHARES a head scores more than."""
    words: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """language (empty: none), license, crawl and nsfw."""
    hosts: list[tuple[str, int]] = field(default_factory=list)
    """The most frequent, most frequent first."""
    distinct_hosts: int = 0

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.numbers["short_side"].total()

    def include(self, other: Tally) -> None:
        """Add the counts of further rows, except the hosts."""
        for name, numbers in other.numbers.items():
            self.numbers[name].update(numbers)
        for name, words in other.words.items():
            self.words[name].update(words)


def merge(
    connection: duckdb.DuckDBPyConnection,
    counts: Sequence[Path],
    hosts: Sequence[Path],
    datasets: Sequence[str],
) -> dict[str, Tally]:
    """The tallies of `all`, which is the three splits, and of every dataset, in this order.

    `counts` and `hosts` are the tables of all blocks. InputError names a file that is not one.
    """
    found = {name: Tally() for name in datasets}
    _view(connection, "counts", counts, COUNTS.names)
    rows = connection.execute(
        "SELECT dataset, name, number, word, sum(n)::BIGINT FROM counts GROUP BY ALL"
    ).fetchall()
    for dataset, name, number, word, n in rows:
        if dataset not in found:
            continue
        if name in _WORDS:
            found[dataset].words[name][word] = n
        else:
            found[dataset].numbers[name][number] = n
    _view(connection, "hosts", hosts, HOSTS)
    columns = [column for column, *_ in connection.execute("DESCRIBE hosts").fetchall()]
    sums = ", ".join(f'sum("{name}")::BIGINT AS "{name}"' for name in columns[2:])
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE by_host AS SELECT split, host, {sums} FROM hosts "
        "GROUP BY split, host"
    )
    for name, tally in found.items():
        if name in SPLITS.values():
            tally.hosts, tally.distinct_hosts = _top_hosts(connection, "n", [name])
        elif name in columns:
            tally.hosts, tally.distinct_hosts = _top_hosts(connection, name, [*SPLITS.values()])
    whole = Tally()
    for name in SPLITS.values():
        whole.include(found.get(name, Tally()))
    whole.hosts, whole.distinct_hosts = _top_hosts(connection, "n", [*SPLITS.values()])
    return {"all": whole, **found}


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], columns: Sequence[str]
) -> None:
    """All these tables as one; InputError names the one that cannot be read."""
    for path in files:
        found = parquet_schema(path, "run `release block` again").names
        if found[: len(columns)] != [*columns]:
            raise InputError(f"{path}: not the {name} of a block; run `release block` again")
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    nothing = ", ".join(f"NULL AS {column}" for column in columns)
    rows = f"FROM read_parquet([{listed}])" if files else f"SELECT {nothing} WHERE false"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {rows}")


def _top_hosts(
    connection: duckdb.DuckDBPyConnection, column: str, splits: Sequence[str]
) -> tuple[list[tuple[str, int]], int]:
    """Top hosts of the rows that a column counts in some splits, and the number of all hosts."""
    found = connection.execute(
        f"""WITH counted AS (
            SELECT host, sum("{column}")::BIGINT AS n FROM by_host
            WHERE list_contains(?, split) AND "{column}" > 0 GROUP BY host)
        SELECT host, n, (SELECT count(*) FROM counted) FROM counted
        ORDER BY n DESC, host LIMIT ?""",
        [splits, TOP_HOSTS],
    ).fetchall()
    return [(host, n) for host, n, _ in found], found[0][2] if found else 0


def _hundredths(scores: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """By hundredths, rounded down, plus _SHIFT; 0 where the score is not finite."""
    wide = np.clip(scores.astype(np.float64), -_FARTHEST, _FARTHEST)
    wide *= 100
    np.floor(wide, out=wide)
    wide += _SHIFT
    if not (finite := np.isfinite(scores)).all():
        wide[~finite] = 0
    return wide.astype(np.int32)
