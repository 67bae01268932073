"""The data of the report, read from the results of one crawl."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laion_hpc.config import Config
from laion_hpc.errors import InputError
from laion_hpc.files import ledger
from laion_hpc.run import results
from laion_hpc.run.jobs import STAGES
from laion_hpc.run.report.samples import Picture, choose
from laion_hpc.runtime.usage import Usage

MOST_FILES = 400
"""Most tables that are read for a plot, evenly over the run: about four million samples."""
MOST_SHARDS = 60
"""Most shards whose hosts are counted."""


@dataclass(frozen=True)
class StageTotals:
    """The sums of all ledgers of one stage."""

    stage: str
    unit: str
    jobs: int
    inputs: int
    kept: int
    dropped: Counter[str]


@dataclass(frozen=True)
class Benchmark:
    """Time and memory of the jobs of one stage, by Snakemake or the ranks of MPI jobs."""

    jobs: int
    seconds: float
    longest: float
    cpu_seconds: float
    max_rss_mb: float


@dataclass(frozen=True)
class HostBalance:
    """The distribution of the links of some shards over hosts."""

    largest_shares: list[float]
    """For each shard: the share of its most frequent host, 0 … 1."""
    distinct: list[int]
    """For each shard: the number of its hosts."""
    overall_share: float
    """The share of the most frequent host in all of these shards together."""
    shards: int
    """The number of shards of the crawl."""


@dataclass
class Run:
    """The data of the page. Fields of stages that have not run are empty or None."""

    crawl: str
    config: Config
    stages: list[StageTotals] = field(default_factory=list)
    statistics: dict[str, Any] | None = None
    similarity: dict[str, Counter[int]] = field(default_factory=dict)
    """For each language class: the number of pairs by cosine, in hundredths, rounded down."""
    similarity_files: tuple[int, int] = (0, 0)
    """The number of tables that were read, and of all tables."""
    content_types: Counter[str] = field(default_factory=Counter)
    balance: HostBalance | None = None
    evaluation: Any = None
    """The content of `evaluation.json`, by `index evaluate`."""
    latencies: Any = None
    """The content of `evaluation_stats.json`: times of single queries."""
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)

    def stage(self, name: str) -> StageTotals | None:
        """The totals of a stage, if it has run."""
        return next((totals for totals in self.stages if totals.stage == name), None)


def gather(crawl: Path, config: Config, *, samples: int, threads: int = 1) -> Run:
    """Read the results of a crawl, whatever is there."""
    run = Run(crawl.resolve().name, config)
    for name in STAGES:
        totals = _totals(crawl, name)
        if totals is not None:
            run.stages.append(totals)
    run.statistics = _json(crawl / "release" / "statistics.json")
    run.evaluation = _json(crawl / "index" / "evaluation.json")
    run.latencies = _json(crawl / "index" / "evaluation_stats.json")
    scores = sorted(crawl.glob("filter/*/scores/*.parquet"))
    run.similarity = _similarity(spread(scores, MOST_FILES), threads)
    run.similarity_files = (min(len(scores), MOST_FILES), len(scores))
    shards = sorted(crawl.glob("download/*/[0-9]*.parquet"))
    run.content_types = _content_types(spread(shards, MOST_FILES), threads)
    run.balance = _balance(sorted(crawl.glob("shuffle/*.parquet")))
    for name in STAGES:
        files = sorted((crawl / "benchmarks" / name).glob("*.tsv"))
        measured = _benchmark(files, crawl / "logs" / name)
        if measured is not None:
            run.benchmarks[name] = measured
    run.pictures = choose(crawl, samples, seed=config.dataset.seed)
    return run


def spread(items: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def _totals(crawl: Path, name: str) -> StageTotals | None:
    books = [ledger.read(path) for path in results.unit_ledgers(crawl, name).values()]
    if not books:
        return None
    dropped: Counter[str] = Counter()
    for book in books:
        dropped.update(book.dropped)
    inputs, kept = sum(book.inputs for book in books), sum(book.kept for book in books)
    return StageTotals(name, books[0].unit, len(books), inputs, kept, dropped)


def _json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(
            f"{path}: not valid JSON ({error}); delete it and run snakemake again"
        ) from None


def _query(files: Sequence[Path], sql: str, threads: int) -> list[tuple[Any, ...]]:
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute(f"SET threads = {threads}")
            return connection.execute(sql, [[str(file) for file in files]]).fetchall()
    except duckdb.Error as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"{files[0].parent}: cannot be read: {first_line}") from None


def _similarity(files: Sequence[Path], threads: int) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    if files:
        for name, hundredths, count in _query(
            files,
            "SELECT language_class, floor(similarity * 100)::INTEGER AS hundredths, count(*) "
            "FROM read_parquet(?) WHERE isfinite(similarity) GROUP BY ALL ORDER BY ALL",
            threads,
        ):
            found.setdefault(name, Counter())[hundredths] = count
    return found


def _content_types(files: Sequence[Path], threads: int) -> Counter[str]:
    if not files:
        return Counter()
    rows = _query(
        files,
        "SELECT lower(trim(split_part(content_type, ';', 1))) AS kind, count(*) "
        "FROM read_parquet(?) WHERE status = 'success' GROUP BY kind ORDER BY kind",
        threads,
    )
    return Counter({kind or "not given": count for kind, count in rows})


def _balance(blocks: Sequence[Path]) -> HostBalance | None:
    """The hosts of some shards, evenly over all. Row group s of a shuffled block is shard s."""
    from laion_hpc.files.tables import open_parquet, parquet_footer

    shards = [
        (path, group) for path in blocks for group in range(parquet_footer(path).num_row_groups)
    ]
    largest, distinct, overall = [], [], Counter[str]()
    step = max(1, -(-len(shards) // MOST_SHARDS))
    for path, group in shards[::step]:
        with open_parquet(path) as file:
            hosts = Counter(file.read_row_group(group, columns=["host"])["host"].to_pylist())
        if hosts:
            largest.append(max(hosts.values()) / hosts.total())
            distinct.append(len(hosts))
            overall.update(hosts)
    if not overall:
        return None
    return HostBalance(largest, distinct, max(overall.values()) / overall.total(), len(shards))


def _benchmark(files: Sequence[Path], logs: Path) -> Benchmark | None:
    seconds, cpu, memory = [], 0.0, 0.0
    for file in files:
        # Snakemake measures only srun of an MPI job, and srun only waits.
        ranks = Usage.of_log(logs / f"{file.stem}.log")
        with file.open(newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                seconds.append(_number(row.get("s")))
                cpu += ranks.cpu_seconds if ranks else _number(row.get("cpu_time"))
                peak = ranks.peak_mb if ranks else _number(row.get("max_rss"))
                memory = max(memory, peak)
    if not seconds:
        return None
    return Benchmark(len(seconds), sum(seconds), max(seconds), cpu, memory)


def _number(text: str | None) -> float:
    """A number of a benchmark file. Jobs too short to measure have `-` or NA there: 0."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
