"""The statistics of a release: those that LAION published of its datasets, and more.

They are exact integer arithmetic on counts (`tally`): the same release gives the same bytes with
any number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from laion_hpc.stages.release.value_counts import SHARES, Tally, merge

QUANTILES = tuple(round(0.05 * step, 2) for step in range(1, 20))
SIDES = (256, 512, 1024)
TOP_LICENSES = 50
SIDE_EDGES = (1, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192)
TEXT_EDGES = (1, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)


def compute(
    counts: Sequence[Path],
    hosts: Sequence[Path],
    datasets: Sequence[str],
    *,
    heads: Sequence[str],
    threads: int = 1,
    memory: str = "4GB",
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Statistics of every dataset, as in `statistics.json`.

    `counts` and `hosts` are the blocks' tables of counts (`tally`). `all` is the union
    of the three splits.
    """
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        connection.execute(f"SET memory_limit = '{memory}'")
        if scratch is not None:
            connection.execute("SET temp_directory = ?", [str(scratch)])
        tallies = merge(connection, counts, hosts, datasets)
    return {name: summarise(one, heads) for name, one in tallies.items()}


def summarise(found: Tally, heads: Sequence[str]) -> dict[str, Any]:
    """The published numbers of one dataset."""
    count, numbers, words = found.count, found.numbers, found.words
    return {
        "count": count,
        "both_sides_at_least": {
            str(side): _shared(sum(n for v, n in numbers["short_side"].items() if v >= side), count)
            for side in SIDES
        },
        "quantiles": {
            name: quantiles(numbers[name]) for name in ("width", "height", "text_length")
        },
        "average_text_length": _ratio(
            sum(v * n for v, n in numbers["text_length"].items()), count, 3
        ),
        "heads": {
            head: {
                "above": {
                    str(limit): _shared(
                        sum(n for passed, n in numbers[f"above/{head}"].items() if passed > place),
                        numbers[f"head/{head}"].total(),
                    )
                    for place, limit in enumerate(SHARES)
                },
                "histogram": hundredths_histogram(numbers[f"head/{head}"]),
            }
            for head in heads
        },
        "nsfw": _ranked(words["nsfw"], count, "class"),
        "languages": _ranked(words["language"], count, "language", {"": "nolang"}),
        "licenses": _ranked(words["license"], count, "license")[:TOP_LICENSES],
        "crawls": _ranked(words["crawl"], count, "crawl"),
        "hosts": [{"host": host, **_shared(n, count)} for host, n in found.hosts],
        "distinct_hosts": found.distinct_hosts,
        "histograms": {
            "similarity": hundredths_histogram(numbers["similarity"]),
            "short_side": edges_histogram(numbers["short_side"], SIDE_EDGES),
            "text_length": edges_histogram(numbers["text_length"], TEXT_EDGES),
        },
    }


def quantiles(counter: Counter[int]) -> dict[str, int]:
    """Exact quantiles: the smallest value such that at least that share of rows is ≤ it."""
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
    """Counts below the first of `edges`, between them, and from the last one on."""
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
