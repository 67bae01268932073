"""Prove that no sample vanished: in every stage, and from each stage to the next.

laion-hpc audit results                  every crawl under results/
laion-hpc audit results demo             one of them
laion-hpc audit results/demo --complete  a stage or block that has not run is an error too
laion-hpc audit results --checksums      read every file and compare its SHA-256 (slow)
laion-hpc audit results --takedown       read every file: no trace is left of what was taken down

Every ledger must balance (inputs = kept + dropped), what one stage keeps must be what the next
one reads, and every file that a ledger lists must be there with its size, or be listed with the
same checksum in the folder's removed.json (keep.candidate_images). Exit code 1, with the stage,
the block and both numbers, if anything does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from laion_hpc.errors import AuditError, InputError
from laion_hpc.files import ledger
from laion_hpc.files.ledger import Ledger
from laion_hpc.run import gaps, jobs, results
from laion_hpc.run.jobs import Rule
from laion_hpc.runtime import console, work
from laion_hpc.runtime.arguments import add_config, add_processes

SHOWN_PROBLEMS = 20


@dataclass
class Stage:
    """The ledgers of one stage of one crawl."""

    name: str
    books: dict[str, Ledger]
    paths: dict[str, Path]

    @property
    def inputs(self) -> int:
        """Inputs of all units together."""
        return sum(book.inputs for book in self.books.values())

    @property
    def kept(self) -> int:
        """What all units keep together."""
        return sum(book.kept for book in self.books.values())

    @property
    def dropped(self) -> Counter[str]:
        """Reasons of all units together."""
        total: Counter[str] = Counter()
        for book in self.books.values():
            total.update(book.dropped)
        return total


@dataclass
class Audit:
    """The outcome for one crawl."""

    crawl: str
    stages: dict[str, Stage] = field(default_factory=dict)
    tables: list[tuple[Rule, Stage]] = field(default_factory=list)
    """Ledgers of further rules by unit, such as the metadata of the index."""
    problems: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("results", type=Path, help="folder of results, or of one crawl")
    parser.add_argument("crawls", nargs="*", metavar="CRAWL", help="default: all")
    add_config(parser, default="RESULTS/config.yaml, if there")
    parser.add_argument(
        "--complete", action="store_true", help="every stage must have run on every block"
    )
    parser.add_argument("--checksums", action="store_true", help="verify the SHA-256 of all files")
    parser.add_argument(
        "--takedown",
        nargs="?",
        const="",
        metavar="LIST",
        help="prove that nothing on the list of take-downs (default: the config's) is left",
    )
    add_processes(parser, meaning="processes that read files")


def run(options: argparse.Namespace) -> int:
    """Audit the crawls, print a table each; AuditError lists all that does not hold."""
    blocks = _blocks(options)
    problems: list[str] = []
    with work.team(options.processes) as team:
        if not team.leads:
            return 0
        for folder in results.crawl_folders(options.results, options.crawls):
            audit = audit_crawl(
                folder, team, blocks=blocks, complete=options.complete, sums=options.checksums
            )
            show(audit)
            problems += audit.problems
            if options.takedown is not None:
                problems += check_taken_down(folder, team, options)
        together = options.results / "release"
        if options.takedown is not None and (together / ledger.MANIFEST).is_file():
            problems += check_taken_down(together, team, options)
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        shown = problems[:SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise AuditError("the audit found:\n  " + "\n  ".join(shown))
    console.out("Every sample is accounted for.")
    if options.takedown is not None:
        console.out("Of what was taken down no trace is left.")
    return 0


def _blocks(options: argparse.Namespace) -> int | None:
    """The number of blocks, where a config says it."""
    path = options.config or results.config_of(options.results)
    if path is None:
        return None
    from laion_hpc.config import load

    return load(path).dataset.blocks


def audit_crawl(
    crawl: Path,
    team: work.Team,
    *,
    blocks: int | None = None,
    complete: bool = False,
    sums: bool = False,
) -> Audit:
    """Check all ledgers of one crawl. `blocks`: how many there must be, where that is known."""
    audit = Audit(crawl.resolve().name)
    for name in jobs.STAGES:
        audit.stages[name] = _read_stage(name, results.unit_ledgers(crawl, name), audit.problems)
    for rule in jobs.RULES:
        if "{unit}" in rule.ledger and not rule.counts:
            label = rule.name.replace("_", " ")
            stage = _read_stage(label, results.ledgers(crawl, rule), audit.problems)
            audit.tables.append((rule, stage))
    _check_extract_to_shuffle(crawl, audit, blocks)
    for name, counted in jobs.STAGES.items():
        _check_blocks(audit, audit.stages[name], counted.reads)
    for rule, table in audit.tables:
        _check_blocks(audit, table, rule.reads)
    for rule in jobs.RULES:
        if rule.sums and rule.unit == "crawl":
            _check_merged(crawl, audit, rule)
    audit.problems += gaps.of(crawl)
    if complete:
        _check_complete(audit, blocks)
    paths = [
        path
        for rule in jobs.RULES
        if rule.unit != "dataset"
        for path in results.ledgers(crawl, rule).values()
    ]
    for name in jobs.STAGES:
        for unit in audit.stages[name].books:
            paths += results.shard_ledgers(crawl, name, unit)
    found = team.map(partial(check_files, sums=sums), paths, label="audit", unit="ledgers")
    audit.problems += [problem for problems in found for problem in problems]
    # A ledger that cannot be read is met twice: with its stage and with its files.
    audit.problems = list(dict.fromkeys(audit.problems))
    return audit


def check_taken_down(crawl: Path, team: work.Team, options: argparse.Namespace) -> list[str]:
    """What is still there of the samples on the list of take-downs: every file is searched."""
    from laion_hpc.config import load
    from laion_hpc.files import takedown_list
    from laion_hpc.run.takedown import traces

    config = load(options.config or results.config_of(options.results))
    path = Path(options.takedown or config.takedown_list)
    if not path.is_file():
        raise InputError(f"{path}: no such list of take-downs; give it after --takedown")
    if path.with_name(f"{path.name}.pending").exists():
        raise InputError(f"{path}.pending: a take-down is not finished; run it again")
    search = partial(
        traces.search,
        crawl=crawl,
        takedowns=takedown_list.read(path),
        numbering=takedown_list.numbering(config),
    )
    files = sorted(file for file in crawl.rglob("*") if file.is_file())
    found = team.map(search, files, label="search for traces", unit="files")
    return [problem for problems in found for problem in problems]


def _read_stage(name: str, paths: dict[str, Path], problems: list[str]) -> Stage:
    stage = Stage(name, {}, paths)
    for unit, path in paths.items():
        try:
            stage.books[unit] = ledger.read(path)
        except InputError as error:
            problems.append(str(error))
    return stage


def check_files(path: Path, *, sums: bool) -> list[str]:
    """What is wrong with one ledger by itself: its balance and the files that it lists."""
    try:
        book = ledger.read(path)
    except InputError as error:
        return [str(error)]
    problems = []
    if not book.balanced:
        problems.append(
            f"{path}: {book.inputs} in, but {book.kept} kept and "
            f"{sum(book.dropped.values())} dropped make {book.kept + sum(book.dropped.values())}"
        )
    for entry in book.files:
        file = path.parent / entry.name
        if not file.exists():
            if not _removed_on_purpose(file, entry, problems):
                problems.append(f"{path}: lists {entry.name}, which is missing")
        elif file.stat().st_size != entry.bytes:
            problems.append(
                f"{path}: lists {entry.name} with {entry.bytes} bytes, it has {file.stat().st_size}"
            )
        elif sums:
            with file.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != entry.sha256:
                problems.append(f"{path}: {entry.name} has changed: its SHA-256 is another")
    return problems


def _removed_on_purpose(file: Path, entry: ledger.File, problems: list[str]) -> bool:
    try:
        return ledger.is_removed(file, entry)
    except InputError as error:
        problems.append(str(error))
        return False


def _check_extract_to_shuffle(crawl: Path, audit: Audit, blocks: int | None) -> None:
    """Every block must have read what all segments kept for it, all together what they kept."""
    extract, shuffle = audit.stages["extract"], audit.stages["shuffle"]
    if not shuffle.paths:
        return
    if not extract.paths:
        audit.problems.append(
            f"{audit.crawl}: shuffle has run, but there is no ledger in {crawl / 'extract'}"
        )
        return
    kept = _links_by_block(extract)
    for unit, book in shuffle.books.items():
        if kept and kept.get(unit, 0) != book.inputs:
            audit.problems.append(
                f"{audit.crawl}: shuffle, block {unit}: read {book.inputs} links, but the "
                f"{len(extract.paths)} segments of extract hold {kept.get(unit, 0)} for it "
                f"({shuffle.paths[unit]}, {crawl / 'extract'})"
            )
    later = any(results.merged_ledger(crawl, name) for name in jobs.STAGES)
    if not later and len(shuffle.paths) < (blocks or len(kept)):
        return  # not all blocks have been read yet
    if extract.kept != shuffle.inputs:
        audit.problems.append(
            f"{audit.crawl}: shuffle read {shuffle.inputs} links in {len(shuffle.paths)} blocks, "
            f"but extract kept {extract.kept} in {len(extract.paths)} segments "
            f"({crawl / 'shuffle'}, {crawl / 'extract'}): a block or a segment is missing, or one "
            "was made from others than these"
        )


def _links_by_block(extract: Stage) -> dict[str, int]:
    """Rows for each block in the segments' tables (row group = block); empty if not all there."""
    from laion_hpc.files.tables import parquet_footer

    total: Counter[str] = Counter()
    groups = set()
    for unit, path in extract.paths.items():
        try:
            footer = parquet_footer(path.with_name(f"{unit}.parquet"))
        except InputError:
            return {}
        groups.add(footer.num_row_groups)
        for block in range(footer.num_row_groups):
            total[f"{block:04d}"] += footer.row_group(block).num_rows
    return dict(total) if len(groups) == 1 else {}


def _check_blocks(audit: Audit, stage: Stage, reads: Sequence[str]) -> None:
    """Every block must have read what the stages before it kept of that block."""
    for before in (audit.stages[name] for name in reads):
        for unit, book in stage.books.items():
            where = f"{audit.crawl}: {stage.name}, block {unit}"
            if unit not in before.paths:
                audit.problems.append(
                    f"{where}: has run, but {before.name} has no ledger of it ({stage.paths[unit]})"
                )
            elif unit in before.books and before.books[unit].kept != book.inputs:
                audit.problems.append(
                    f"{where}: read {book.inputs} {book.unit}, but {before.name} kept "
                    f"{before.books[unit].kept} ({stage.paths[unit]}, {before.paths[unit]})"
                )


def _check_merged(crawl: Path, audit: Audit, rule: Rule) -> None:
    """The ledger over all blocks must be the sum of theirs, and no block may lack."""
    path = results.ledgers(crawl, rule).get("")
    if path is None:
        return
    try:
        merged = ledger.read(path)
    except InputError as error:
        audit.problems.append(str(error))
        return
    summed = jobs.BY_NAME[rule.sums]
    stage = audit.stages[summed.stage]
    if not summed.counts:
        stage = next(table for one, table in audit.tables if one is summed)
    if merged.kept != stage.kept:
        audit.problems.append(
            f"{audit.crawl}: {path} keeps {merged.kept} {merged.unit}, but its "
            f"{len(stage.paths)} blocks kept {stage.kept}"
        )
    for unit, shuffled in audit.stages["shuffle"].paths.items():
        if unit not in stage.paths:
            audit.problems.append(
                f"{audit.crawl}: {path} is there, but {stage.name} has no ledger of block {unit}, "
                f"which shuffle made ({shuffled})"
            )


def _check_complete(audit: Audit, blocks: int | None) -> None:
    units = set(audit.stages["shuffle"].paths)
    if blocks is not None:
        units |= {f"{block:04d}" for block in range(blocks)}
    for name, stage in audit.stages.items():
        if name == "extract":
            missing = [] if stage.paths else ["any segment"]
        else:
            missing = [f"block {unit}" for unit in sorted(units - stage.paths.keys())]
            missing = missing or ([] if stage.paths else ["any block"])
        if missing:
            audit.problems.append(f"{audit.crawl}: {name} has not run on {', '.join(missing)}")


def show(audit: Audit) -> None:
    """Print the table of one crawl: with rich on a terminal, as plain aligned text elsewhere."""
    heads = ("stage", "units", "inputs", "kept", "kept %", "dropped", "reasons")
    rows = [_row(stage) for stage in audit.stages.values()]
    console.table(audit.crawl, heads, rows, left=(0, len(heads) - 1))


def _row(stage: Stage) -> tuple[str, ...]:
    if not stage.paths:
        return (stage.name, "", "", "", "", "", "not yet run")
    count = len(stage.paths)
    dropped = stage.dropped
    reasons = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{reason} {n:,}" for reason, n in reasons[:4])
    return (
        stage.name,
        f"{count} {jobs.STAGES[stage.name].unit}{'s' if count != 1 else ''}",
        f"{stage.inputs:,}",
        f"{stage.kept:,}",
        f"{stage.kept / stage.inputs:.1%}" if stage.inputs else "–",
        f"{dropped.total():,}",
        shown + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else ""),
    )
