"""The statistics of a release: what LAION published about its datasets, and more.

DuckDB counts how often every value of a few columns occurs, per dataset (split or subset); each
column is read once and only counts come back, so memory is bounded by the number of distinct
values and DuckDB's own limit. Everything else is exact integer arithmetic on these counts: the
same release gives the same bytes whatever the number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from laion_hpc.release.columns import SPLITS
from laion_hpc.release.subsets import rows_of

QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
SIDES = (256, 512, 1024)
SHARES = (0.5, 0.8)
"""LAION's thresholds: punsafe above 0.5 is unsafe, pwatermark above 0.8 has a watermark."""
TOP_HOSTS = 100
TOP_LICENSES = 50
SIDE_EDGES = (1, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192)
TEXT_EDGES = (1, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)

_AUTHORITY = "split_part(split_part(split_part(URL, '/', 3), '?', 1), '#', 1)"
HOST_SQL = rf"""lower(CASE WHEN contains({_AUTHORITY}, '@') OR contains({_AUTHORITY}, '[')
    THEN regexp_extract({_AUTHORITY}, '^(?:.*@)?(\[[^\]]*\]|[^:]*)', 1)
    ELSE split_part({_AUTHORITY}, ':', 1) END)"""
"""The host of a URL, as `hosts.host_of` gives it; the regular expression, six times as slow as
all else together, only where it is needed."""


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

    def merged(self, other: Tally) -> Tally:
        """Both together, but for the hosts, whose tails are not known."""
        names = ["width", "height", "short_side", "text_length", "similarity", "language"]
        names += ["license", "nsfw", "crawl"]
        both = Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})
        for name in {**self.heads, **other.heads}:
            both.heads[name] = self.heads.get(name, Counter()) + other.heads.get(name, Counter())
        for key in {**self.above, **other.above}:
            both.above[key] = self.above.get(key, 0) + other.above.get(key, 0)
        return both


def compute(
    datasets: Mapping[str, Mapping[str, Sequence[Path]]],
    *,
    heads: Sequence[str],
    has_nsfw: bool,
    threads: int = 1,
    memory: str = "4GB",
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Statistics of every dataset, as they stand in `statistics.json`.

    `datasets` maps a name to joined files by split (a subset's files under the name `subset`).
    `all` is the union of the three splits.
    """
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        connection.execute(f"SET memory_limit = '{memory}'")
        if scratch is not None:
            connection.execute("SET temp_directory = ?", [str(scratch)])
        tallies = tally(connection, datasets, heads=heads, has_nsfw=has_nsfw)
    return {name: summarise(one) for name, one in tallies.items()}


def tally(
    connection: duckdb.DuckDBPyConnection,
    datasets: Mapping[str, Mapping[str, Sequence[Path]]],
    *,
    heads: Sequence[str],
    has_nsfw: bool,
) -> dict[str, Tally]:
    """The tallies of `all` and of every dataset, in the order of `datasets`."""
    found = {name: Tally() for name in datasets}
    rows = " UNION ALL BY NAME ".join(
        f"SELECT '{name}' AS dataset, * FROM ({rows_of(files)})"
        for name, files in datasets.items()
        if any(files.values())
    )
    if rows:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW release AS {rows}")
        columns = {
            "width": "WIDTH",
            "height": "HEIGHT",
            "short_side": "least(WIDTH, HEIGHT)",
            "text_length": "length(TEXT)",
            "similarity": "floor(similarity * 100)::INTEGER",
            "language": "LANGUAGE",
            "license": "license",
            "crawl": "crawl",
        }
        if has_nsfw:
            columns["nsfw"] = "nsfw"
        for name, expression in columns.items():
            for dataset, counter in _count(connection, expression).items():
                setattr(found[dataset], name, counter)
        for head in heads:
            _tally_head(connection, head, found)
        _tally_hosts(connection, found)
    whole = Tally()
    for name in SPLITS.values():
        whole = whole.merged(found.get(name, Tally()))
    if rows:
        whole.hosts, whole.distinct_hosts = _top_hosts(connection)
    return {"all": whole, **found}


def _count(
    connection: duckdb.DuckDBPyConnection, expression: str, where: str = "true"
) -> dict[str, Counter[Any]]:
    counters: dict[str, Counter[Any]] = {}
    for dataset, value, count in connection.execute(
        f"SELECT dataset, {expression} AS value, count(*) FROM release WHERE {where} "
        "GROUP BY dataset, value ORDER BY dataset, value"
    ).fetchall():
        counters.setdefault(dataset, Counter())[value] = count
    return counters


def _tally_head(connection: duckdb.DuckDBPyConnection, head: str, found: dict[str, Tally]) -> None:
    # A head without a sigmoid may give anything; beyond ±1000 its histogram is of no use.
    hundredths = f'floor(greatest(-1000, least(1000, "{head}")) * 100)::INTEGER'
    for dataset, counter in _count(connection, hundredths, f'isfinite("{head}")').items():
        found[dataset].heads[head] = counter
    for dataset, *counts in connection.execute(
        "SELECT dataset, "
        + ", ".join(f'count(*) FILTER (WHERE "{head}" > {limit}::FLOAT)' for limit in SHARES)
        + f' FROM release WHERE isfinite("{head}") GROUP BY dataset'
    ).fetchall():
        for limit, count in zip(SHARES, counts, strict=True):
            found[dataset].above[head, limit] = count


def _tally_hosts(connection: duckdb.DuckDBPyConnection, found: dict[str, Tally]) -> None:
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE hosts AS SELECT dataset, {HOST_SQL} AS host, "
        "count(*) AS n FROM release GROUP BY dataset, host"
    )
    for dataset, tallied in found.items():
        tallied.hosts, tallied.distinct_hosts = _top_hosts(connection, dataset)


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


def summarise(found: Tally) -> dict[str, Any]:
    """The published numbers of one dataset."""
    count = found.count
    return {
        "count": count,
        "both_sides_at_least": {
            str(side): _shared(sum(n for v, n in found.short_side.items() if v >= side), count)
            for side in SIDES
        },
        "quantiles": {
            name: quantiles(getattr(found, name)) for name in ("width", "height", "text_length")
        },
        "average_text_length": _ratio(sum(v * n for v, n in found.text_length.items()), count, 3),
        "heads": {
            head: {
                "above": {
                    str(limit): _shared(found.above.get((head, limit), 0), counter.total())
                    for limit in SHARES
                },
                "histogram": hundredths_histogram(counter),
            }
            for head, counter in found.heads.items()
        },
        "nsfw": _ranked(found.nsfw, count, "class"),
        "languages": _ranked(found.language, count, "language", {"": "nolang"}),
        "licenses": _ranked(found.license, count, "license")[:TOP_LICENSES],
        "crawls": _ranked(found.crawl, count, "crawl"),
        "hosts": [{"host": host, **_shared(n, count)} for host, n in found.hosts],
        "distinct_hosts": found.distinct_hosts,
        "histograms": {
            "similarity": hundredths_histogram(found.similarity),
            "short_side": edges_histogram(found.short_side, SIDE_EDGES),
            "text_length": edges_histogram(found.text_length, TEXT_EDGES),
        },
    }


def quantiles(counter: Counter[int]) -> dict[str, int]:
    """Exact quantiles: the smallest value that at least that share of the rows does not exceed."""
    count = counter.total()
    wanted = list(QUANTILES)
    found: dict[str, int] = {}
    below = 0
    for value, n in sorted(counter.items()):
        below += n
        # In integers: 0.05 · count is not exact in binary.
        while wanted and below * 100 >= round(wanted[0] * 100) * count:
            found[f"{wanted.pop(0):.2f}"] = value
    return found


def hundredths_histogram(counter: Counter[int]) -> dict[str, Any]:
    """Counts of values tallied by hundredths, in at most 60 bins of an even width.

    Bin i holds `start + i · width ≤ value < start + (i + 1) · width`.
    """
    if not counter:
        return {"start": 0.0, "width": 0.01, "counts": []}
    low, high = min(counter), max(counter)
    width = next(w for w in _steps() if (high // w) - (low // w) < 60)
    first = low // width
    counts = [0] * (high // width - first + 1)
    for value, n in counter.items():
        counts[value // width - first] += n
    return {"start": first * width / 100, "width": width / 100, "counts": counts}


def _steps() -> Sequence[int]:
    return [digit * 10**power for power in range(6) for digit in (1, 2, 5)]


def edges_histogram(counter: Counter[int], edges: Sequence[int]) -> dict[str, Any]:
    """Counts between `edges`, and before the first one below it, after the last one from it on."""
    counts = [0] * (len(edges) + 1)
    for value, n in counter.items():
        counts[sum(value >= edge for edge in edges)] += n
    return {"edges": list(edges), "counts": counts}


def _ranked(
    counter: Counter[str], count: int, name: str, names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    order: Callable[[tuple[str, int]], tuple[int, str]] = lambda item: (-item[1], item[0])  # noqa: E731
    return [
        {name: (names or {}).get(value, value), **_shared(n, count)}
        for value, n in sorted(counter.items(), key=order)
    ]


def _shared(n: int, count: int) -> dict[str, Any]:
    return {"count": n, "share": _ratio(n, count, 6)}


def _ratio(n: int, count: int, digits: int) -> float:
    return round(n / count, digits) if count else 0.0
