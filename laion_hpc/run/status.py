"""What is done, what is under way, what failed and where its log is.

laion-hpc status results                  every crawl of results/config.yaml
laion-hpc status results --config my.yaml

A unit (a segment, a block) is done when its ledger is there. One that has a log but no ledger has
either failed, if its log says so, or is running. Rates come from the times of the ledgers.

Where there is SLURM, its jobs of this workflow are running, pending or failed as SLURM says, with
its reason; rates are then those of the jobs that run now, by the time that finished ones took.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from laion_hpc.config import Config
from laion_hpc.errors import LaionHpcError, UsageError
from laion_hpc.run import jobs, results, slurm
from laion_hpc.run.jobs import Rule
from laion_hpc.run.slurm import State, Unit
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config

LOG_TAIL_BYTES = 20_000
"""Enough for the last traceback."""
RECENT_UNITS = 50
"""The rate is that of the latest units: what a scheduler gives now, not a week ago."""

SHOWN_UNITS = 5
"""Lines on a stage's units that run or wait; all that failed are shown."""

WHOLE = ", whole"
"""Ends the name of a row that stands for one job over all units."""

Queue = Mapping[Unit, State]
"""What a batch system says of units."""


@dataclass(frozen=True)
class Trouble:
    """A unit that has a log but no output."""

    unit: str
    """The name of its log: a segment, a block, or what is done (`merge`, `add-0007`)."""
    log: Path
    state: str
    """`failed`, `running?` without a queue, or what the queue says: running, pending."""
    last_line: str
    shards: int = 0
    """Shards of it that are finished and will be kept."""


@dataclass
class StageStatus:
    """How far one stage of one crawl is."""

    name: str
    done: int
    expected: int | None
    """None: not known, for want of a config or a lock file."""
    per_hour: float | None = None
    troubles: list[Trouble] = field(default_factory=list)
    job_seconds: float | None = None
    """Mean time of a job, from Snakemake's benchmark files."""

    @property
    def rate(self) -> float | None:
        """Units an hour: of the jobs that run now, where a queue tells; else as of late."""
        running = self.count("running")
        if running and self.job_seconds:
            return running * 3600 / self.job_seconds
        return self.per_hour

    @property
    def hours_left(self) -> float | None:
        """At the present rate; None if unknown or done."""
        if self.expected is None or not self.rate or self.done >= self.expected:
            return None
        return (self.expected - self.done) / self.rate

    def count(self, state: str) -> int:
        """Number of units in a state."""
        return sum(trouble.state == state for trouble in self.troubles)


@dataclass(frozen=True)
class Expected:
    """What a crawl should come to, as far as it is known."""

    blocks: int | None = None
    segments: int | None = None
    config: Config | None = None

    def units(self, rule: Rule) -> int | None:
        """How many jobs a rule has; None if that is not known."""
        known = {"segment": self.segments, "block": self.blocks}
        return known.get(rule.unit, 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("results", type=Path, help="folder of results, or of one crawl")
    add_config(parser, default="RESULTS/config.yaml, if there")


def run(options: argparse.Namespace) -> int:
    """Print how far every crawl is; 0 even if something failed, for it is not this that failed."""
    folders, expected, configured = _what_to_look_at(options)
    submitted = slurm.jobs() or []
    for folder in folders:
        name = folder.resolve().name
        queue = slurm.states(submitted, [name], folder.resolve().parent, configured)
        show(name, crawl_status(folder, expected.get(name, Expected()), queue))
    return 0


def _what_to_look_at(options: argparse.Namespace) -> tuple[list[Path], dict[str, Expected], str]:
    path = options.config or results.config_of(options.results)
    expected: dict[str, Expected] = {}
    if path is None:
        return results.crawl_folders(options.results), expected, ""
    from laion_hpc.config import load

    config = load(path)
    for crawl in config.crawls:
        segments = _segments(Path(config.crawl_folder) / f"{crawl}.json")
        expected[crawl] = Expected(config.dataset.blocks, segments, config)
    try:
        folders = results.crawl_folders(options.results)
    except UsageError:
        # Nothing has run yet; that is a status too.
        if not options.config:
            raise
        folders = []
    known = {folder.resolve().name for folder in folders}
    if options.results.resolve().name not in expected:
        folders += [options.results / crawl for crawl in config.crawls if crawl not in known]
    return folders, expected, config.results


def _segments(lock: Path) -> int | None:
    from laion_hpc.files.crawl_lock import read_lock

    try:
        return len(read_lock(lock).segments)
    except (LaionHpcError, OSError):
        return None


def crawl_status(crawl: Path, expected: Expected, queue: Queue | None = None) -> list[StageStatus]:
    """How far every stage of a crawl is; light: reads names, times and the ends of a few logs."""
    rows: dict[str, StageStatus] = {}
    for rule in _rules_of(crawl, expected):
        if rule.counts or rule.row not in rows:
            rows[rule.row] = _row_of(crawl, rule, expected)
        elif rule.sums:
            rows[rule.row].done = len(_finished(crawl, rule))
    for log, (rule, unit) in sorted(_logs(crawl, queue or {}).items()):
        if rule.row in rows and not (crawl / rule.done.format(unit=unit)).exists():
            rows[rule.row].troubles.append(_trouble(crawl, log, rule, unit, queue or {}))
    # A stage, then the whole of it, in the order of the data.
    bases = list(dict.fromkeys(rule.row.removesuffix(WHOLE) for rule in jobs.RULES))
    return sorted(
        rows.values(),
        key=lambda row: (bases.index(row.name.removesuffix(WHOLE)), row.name.endswith(WHOLE)),
    )


def _rules_of(crawl: Path, expected: Expected) -> list[Rule]:
    """The rules that the config has jobs of; without a config those that have begun.

    Rules that a config wants together, such as those of the texts, have begun together.
    """
    if expected.config is not None:
        found = jobs.of_config(expected.config)
    else:
        begun = {rule.wanted for rule in jobs.RULES if _has_begun(crawl, rule)}
        found = tuple(rule for rule in jobs.RULES if rule.wanted in {jobs.always, *begun})
    return [rule for rule in found if rule.unit != "dataset"]


def _has_begun(crawl: Path, rule: Rule) -> bool:
    patterns = (path.replace("{unit}", "*") for path in (rule.log, rule.done))
    return any(True for pattern in patterns for _ in crawl.glob(pattern))


def _row_of(crawl: Path, rule: Rule, expected: Expected) -> StageStatus:
    done = _finished(crawl, rule)
    return StageStatus(
        rule.row,
        len(done),
        expected.units(rule),
        per_hour([path.stat().st_mtime for path in done]),
        job_seconds=job_seconds(crawl.glob(rule.benchmark.replace("{unit}", "*"))),
    )


def _finished(crawl: Path, rule: Rule) -> list[Path]:
    """The files that say that jobs of a rule are done."""
    return list(crawl.glob(rule.done.replace("{unit}", "*")))


def _logs(crawl: Path, queue: Queue) -> dict[Path, tuple[Rule, str]]:
    """The logs that are there, and those of jobs in the queue, each with its rule and unit."""
    here = crawl.resolve().name
    found = {}
    for path in crawl.glob("logs/**/*.log"):
        if known := jobs.of_log(path.relative_to(crawl).as_posix()):
            found[path] = known
    for name, rule_name, unit in queue:
        rule = jobs.BY_NAME.get(rule_name)
        if rule and name == here:
            found[crawl / rule.log.format(unit=unit)] = (rule, unit)
    return found


def _trouble(crawl: Path, log: Path, rule: Rule, unit: str, queue: Queue) -> Trouble:
    error, last = end_of_log(log) if log.exists() else ("", "")
    known = queue.get((crawl.resolve().name, rule.name, unit))
    shards = len(results.shard_ledgers(crawl, rule.stage, unit)) if rule.counts else 0
    if known is None:
        return Trouble(log.stem, log, "failed" if error else "running?", error or last, shards)
    # An error in the log of a job that waits or runs is that of an earlier attempt.
    line = (error or last) if known.state == "failed" else last
    return Trouble(
        log.stem, log, known.state, f"{known.note}: {line}" if line else known.note, shards
    )


def job_seconds(benchmarks: Iterable[Path]) -> float | None:
    """Mean time of the latest jobs of a rule, from their benchmark files (column s)."""
    files = sorted(benchmarks, key=lambda path: path.stat().st_mtime)
    seconds = []
    for path in files[-RECENT_UNITS:]:
        try:
            head, *rows = (line.split("\t") for line in path.read_text().splitlines())
            seconds += [float(row[head.index("s")]) for row in rows]
        except (ValueError, IndexError, OSError):
            continue  # being written
    return sum(seconds) / len(seconds) if seconds else None


def end_of_log(log: Path) -> tuple[str, str]:
    """The last error that a log holds (empty: none) and its last line that says anything."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if "laion-hpc: error:" in line]
    if not errors and "Traceback (most recent call last):" in lines:
        errors = lines[-1:]
    return (errors[-1] if errors else "", lines[-1] if lines else "")


def per_hour(times: list[float]) -> float | None:
    """Units an hour, from the moments at which the latest ones were done; None if it cannot be."""
    recent = sorted(times)[-RECENT_UNITS:]
    if len(recent) < 2 or recent[-1] <= recent[0]:
        return None
    return (len(recent) - 1) / (recent[-1] - recent[0]) * 3600


def show(crawl: str, statuses: list[StageStatus]) -> None:
    """Print the table of one crawl and its troubles."""
    heads = ("stage", "done", "of", "", "per hour", "left", "running", "pending", "failed")
    whole = [s.expected is not None and s.done >= s.expected for s in statuses]
    styles = [
        "red" if status.count("failed") else "green" if all_done else ""
        for status, all_done in zip(statuses, whole, strict=True)
    ]
    console.table(crawl, heads, [_row(status) for status in statuses], styles=styles)
    for status in statuses:
        if status.expected is not None and status.done > status.expected:
            console.out(
                f"{status.name}: {status.done:,} are there, but the config has "
                f"{status.expected:,}: the others come from another config or lock file"
            )
        failed = [trouble for trouble in status.troubles if trouble.state == "failed"]
        others = [trouble for trouble in status.troubles if trouble.state != "failed"]
        others.sort(key=lambda trouble: trouble.state == "pending")
        for trouble in failed + others[:SHOWN_UNITS]:
            kept = f" ({trouble.shards} shards are finished)" if trouble.shards else ""
            console.out(f"{status.name} {trouble.unit}: {trouble.state}{kept}: {trouble.last_line}")
            if trouble.log.exists():
                console.out(f"    see {trouble.log}")
        if len(others) > SHOWN_UNITS:
            console.out(f"{status.name}: {len(others) - SHOWN_UNITS} more run or wait")


def _row(status: StageStatus) -> tuple[str, ...]:
    expected = status.expected
    return (
        status.name,
        f"{status.done:,}",
        "?" if expected is None else f"{expected:,}",
        f"{min(status.done, expected) / expected:.0%}" if expected else "",
        f"{status.rate:,.1f}" if status.rate and expected != status.done else "",
        console.duration(status.hours_left),
        str(status.count("running") + status.count("running?") or ""),
        str(status.count("pending") or ""),
        str(status.count("failed") or ""),
    )
