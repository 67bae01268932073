"""Counts a block while it is written: the subsets of each row, every value, every host.

It reads each row group in memory, before it goes to the joined parts, once for all subsets. Memory
holds a row group, the distinct values and hosts (`Authorities`), and eight bytes for each row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from laion_hpc.errors import UsageError
from laion_hpc.files.atomic import atomic
from laion_hpc.runtime.compiled import compiled
from laion_hpc.stages.release.authorities import Authorities
from laion_hpc.stages.release.columns import SPLITS
from laion_hpc.stages.release.value_counts import COUNTS, Coded, coded
from laion_hpc.web.url import host_of

IMPLIED = {SPLITS["en"]: "en", SPLITS["nolang"]: ""}
"""LANGUAGE of the rows of a split without that column."""
MOST_GROUPS = 64
"""Sets of subsets that are numbered by their bits alone: up to six subsets."""
MOST_CELLS = 1 << 22
"""Values times sets of subsets that one array counts."""
PAGE = 1 << 12
"""Numbers that one array counts, once one of them occurs."""


class Counting:
    """The counts of one block. Each split may be counted in a thread of its own.

    `where`: the predicate of each subset by its folder, at most 60; `heads`: the columns of
    scores; `scratch`: a folder for data that does not fit in memory.
    """

    def __init__(self, where: Mapping[str, str], heads: Sequence[str], scratch: Path) -> None:
        _loop()  # compiled here: each split may be counted in a thread of its own
        self._subsets = list(where)
        self._heads = heads
        # By split, so that threads share nothing: a column for the split, one per subset.
        self._sums: dict[str, dict[str, Sums]] = {}
        self._bits: dict[str, list[npt.NDArray[np.int64]]] = {}
        self._hosts: dict[str, Authorities] = {}
        # A predicate may end in a comment.
        bits = [f"(coalesce(({one}\n)::BIGINT, 0) << {n})" for n, one in enumerate(where.values())]
        self._belongs = " | ".join(bits) or "0::BIGINT"
        self._connection = duckdb.connect()
        # One thread: results keep the order of the rows.
        self._connection.execute("SET threads = 1; SET memory_limit = '2GB'")
        self._connection.execute("SET temp_directory = ?", [str(scratch)])

    def of(self, split: str) -> Callable[[pa.Table], None]:
        """A function that counts further rows of a split, one call after the other.

        It raises UsageError if a predicate fails on a row, such as a CAST of a word to a number.
        """
        cursor = self._connection.cursor()
        implied = IMPLIED.get(split)
        rows = "rows" if implied is None else f"(SELECT *, '{implied}' AS LANGUAGE FROM rows)"
        belongs = f"SELECT {self._belongs} AS bits FROM {rows}"
        hosts = self._hosts[split] = Authorities(1 + len(self._subsets))
        sums = self._sums[split] = {}
        found = self._bits[split] = []

        def count(table: pa.Table) -> None:
            cursor.register("rows", table)
            try:
                chosen = cursor.execute(belongs).fetchnumpy()["bits"]
            except duckdb.Error as error:
                raise UsageError(
                    f"release.subsets: a predicate fails on a row: {str(error).splitlines()[0]}; "
                    "TRY_CAST instead of CAST gives NULL there, which is in no subset"
                ) from None
            bits = np.asarray(chosen).astype(np.int64)
            found.append(bits)
            hosts.add(table["URL"], bits)
            groups, members = _grouped(bits, len(self._subsets))
            for one in coded(table, self._heads, implied):
                if one.name not in sums:
                    sums[one.name] = Sums(one, members.shape[1])
                sums[one.name].add(one, *histogram(one.codes, groups, members))

        return count

    def members(self, split: str, subset: str) -> npt.NDArray[np.bool_]:
        """Which rows of a split are in a subset, in the order in which they were counted."""
        bits = np.concatenate(self._bits[split] or [np.zeros(0, np.int64)])
        return (bits >> self._subsets.index(subset) & 1).astype(np.bool_)

    def write(self, counts: Path, hosts: Path) -> None:
        """Write both tables in a fixed order: the same rows give the same bytes."""
        values = Counter[tuple[str, str, int, str]]()
        for split, sums in self._sums.items():
            for column, dataset in enumerate([split, *self._subsets]):
                for name, one in sums.items():
                    for number, word, n in one.of(column):
                        values[dataset, name, number, word] += n
        rows = [(*key, n) for key, n in sorted(values.items())]
        columns = zip(*rows, strict=True) if rows else ([] for _ in COUNTS)
        arrays = [pa.array(one, field.type) for one, field in zip(columns, COUNTS, strict=True)]
        _write(counts, pa.Table.from_arrays(arrays, schema=COUNTS))
        tables = [self._hosts_of(split) for split in SPLITS.values() if split in self._hosts]
        self._connection.register("hosts", pa.concat_tables(tables))
        # A host with and without its port has two rows; order is by a number.
        found = self._connection.sql("FROM hosts ORDER BY split, hash(host)")
        _write(hosts, found.to_arrow_table())

    def _hosts_of(self, split: str) -> pa.Table:
        authorities, counts = self._hosts[split].found()
        names = ["n", *self._subsets]
        sums = {name: counts[:, column] for column, name in enumerate(names)}
        hosts = [host_of(f"http://{authority}/") for authority in authorities.to_pylist()]
        columns = {"split": pa.repeat(split, len(hosts)), "host": pa.array(hosts, pa.string())}
        return pa.table({**columns, **sums})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class Sums:
    """How often each value of one kind occurs in each of some datasets."""

    def __init__(self, kind: Coded, datasets: int) -> None:
        self._shift, self._datasets = kind.shift, datasets
        # Numbers are few and close together, or many and far apart: pages suit both.
        self._pages: dict[int, npt.NDArray[np.int64]] = {}
        self._words: dict[str, npt.NDArray[np.int64]] = {}

    def add(self, one: Coded, codes: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> None:
        """Count codes (codes,), in order: `counts` (codes, datasets) for each dataset."""
        if one.words:
            for code, row in zip(codes.tolist(), counts, strict=True):
                if (word := one.words[code]) is not None:
                    self._words[word] = self._words.get(word, 0) + row
            return
        pages, starts = np.unique(codes // PAGE, return_index=True)
        ends = [*starts[1:].tolist(), len(codes)][: len(pages)]
        for page, start, end in zip(pages.tolist(), starts.tolist(), ends, strict=True):
            if page not in self._pages:
                self._pages[page] = np.zeros((PAGE, self._datasets), np.int64)
            self._pages[page][codes[start:end] - page * PAGE] += counts[start:end]

    def of(self, dataset: int) -> Iterator[tuple[int, str, int]]:
        """The values of a dataset, each a number or a word, and how often it occurs."""
        for page, counts in self._pages.items():
            there = np.flatnonzero(counts[:, dataset])
            codes = (there + page * PAGE).tolist()
            for code, n in zip(codes, counts[there, dataset].tolist(), strict=True):
                if code or not self._shift:
                    yield code - self._shift, "", n
        for word, row in self._words.items():
            if row[dataset]:
                yield 0, word, int(row[dataset])


def _grouped(
    bits: npt.NDArray[np.int64], subsets: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Group rows by their set of subsets: the group of each row, and the datasets of each group
    (groups, datasets); the first dataset is the split.
    """
    if 1 << subsets <= MOST_GROUPS:
        groups, sets = bits, np.arange(1 << subsets)
    else:
        sets, groups = np.unique(bits, return_inverse=True)
    chosen = sets[:, None] >> np.arange(subsets) & 1
    return groups, np.hstack([np.ones((len(sets), 1)), chosen])


def histogram(
    codes: npt.NDArray[Any], groups: npt.NDArray[np.int64], members: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The codes that occur, in order, and how often in each dataset (codes, datasets).

    `codes` (rows,) are whole numbers, `groups` (rows,) the group of each row, and `members`
    (groups, datasets) is 1 where a group is in a dataset.
    """
    there, low = np.arange(0), 0
    if len(codes):
        low, high = int(codes.min()), int(codes.max())
        if (high - low + 1) * len(members) <= MOST_CELLS:
            there = np.arange(low, high + 1)
        else:
            there, codes = np.unique(codes, return_inverse=True)
            low = 0
    # Floating point makes the product fast, and is exact for whole numbers below 2⁵³.
    cells = np.zeros((len(there), len(members)))
    _loop()(codes.astype(np.int64, copy=False), low, groups, cells)
    return there, (cells @ members).astype(np.int64)


def _add_up(codes: Any, low: int, groups: Any, cells: Any) -> None:
    """Add one to `cells` (codes from `low` on, groups) for each row."""
    for row in range(len(codes)):
        cells[codes[row] - low, groups[row]] += 1


@lru_cache(maxsize=1)
def _loop() -> Any:
    none = np.zeros(0, np.int64)
    return compiled(_add_up, none, 0, none, np.zeros((1, 1)))


def _write(path: Path, table: pa.Table) -> None:
    with atomic(path) as aside:
        pq.write_table(table, aside, compression="zstd")
