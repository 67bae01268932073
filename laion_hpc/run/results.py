"""A reader of a run's results folder: which ledgers and tables each stage has left where.

For the tools that look at a whole run (audit, status, report); a stage never uses it. Paths come
from the table of jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from laion_hpc.errors import InputError, UsageError
from laion_hpc.run import jobs
from laion_hpc.run.jobs import Rule

SUFFIX = ".ledger.json"


def crawl_folders(results: Path, names: Sequence[str] = ()) -> list[Path]:
    """The folders of the crawls under `results`, or `results` itself if it is one crawl's.

    UsageError if there are none, or not one of `names`.
    """
    if not results.is_dir():
        raise UsageError(f"{results}: no such folder of results")
    if _is_crawl(results):
        if names and set(names) != {results.resolve().name}:
            raise UsageError(f"{results} is one crawl's folder: give no names of crawls after it")
        return [results]
    found = {folder.name: folder for folder in sorted(results.iterdir()) if _is_crawl(folder)}
    for name in names:
        if name not in found:
            raise UsageError(f"{results}: no results of a crawl {name!r}, only {', '.join(found)}")
    if not found:
        raise UsageError(f"{results}: no results here, such as {results}/CRAWL/extract/…")
    return [found[name] for name in names] if names else list(found.values())


def _is_crawl(folder: Path) -> bool:
    return folder.is_dir() and any((folder / stage).is_dir() for stage in jobs.STAGES)


def unit_ledgers(crawl: Path, stage: str) -> dict[str, Path]:
    """The ledgers of a stage by unit (`0007`, or a segment's name), in the order of the names."""
    return ledgers(crawl, jobs.STAGES[stage])


def ledgers(crawl: Path, rule: Rule) -> dict[str, Path]:
    """The ledgers of a rule's jobs by unit, in the order of the names.

    A rule with one job for a crawl has one, of the unit "". None where the rule writes none.
    """
    return paths_by_unit(crawl, rule.ledger)


def paths_by_unit(crawl: Path, pattern: str) -> dict[str, Path]:
    """The files of a pattern such as `tag/{unit}.parquet` that are there, by unit, in order.

    A pattern without `{unit}` has one, of the unit "". An empty pattern has none.
    """
    before, unit, after = pattern.partition("{unit}")
    if not unit:
        path = crawl / pattern
        return {"": path} if pattern and path.exists() else {}
    names = (path.relative_to(crawl).as_posix() for path in crawl.glob(f"{before}*{after}"))
    units = sorted(name[len(before) : len(name) - len(after)] for name in names)
    return {unit: crawl / f"{before}{unit}{after}" for unit in units}


def shard_ledgers(crawl: Path, stage: str, unit: str) -> list[Path]:
    """Ledgers of the shards of a block, of those stages that resume by shard."""
    folder = crawl / stage / unit
    return sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []


def merged_ledger(crawl: Path, stage: str) -> Path | None:
    """The path of the ledger over all units of a stage, if it has one and it exists."""
    counted = jobs.STAGES[stage].name
    whole = next((rule for rule in jobs.RULES if rule.sums == counted), None)
    return ledgers(crawl, whole).get("") if whole else None


def block_tables(crawl: Path, stage: str) -> list[Path]:
    """The tables of a stage that has one for each block."""
    return sorted((crawl / stage).glob("[0-9][0-9][0-9][0-9].parquet"))


def shard_tables(crawl: Path, stage: str) -> list[Path]:
    """The tables of a stage that has one for each shard, over all blocks."""
    return sorted((crawl / stage).glob("[0-9][0-9][0-9][0-9]/[0-9]*.parquet"))


def sizes(crawl: Path) -> dict[str, int]:
    """The keys of `dataset` that the results of a crawl show, such as {"blocks": 1024}.

    The row groups of a table of `extract` are the blocks. The row groups of a table of `shuffle`
    are shards: the first of several is a whole one. Missing: nothing there shows it.
    """
    from laion_hpc.files.tables import parquet_footer

    found = {}
    for path in sorted((crawl / "extract").glob("*.parquet"))[:1]:
        with suppress(InputError):
            found["blocks"] = parquet_footer(path).num_row_groups
    for path in sorted((crawl / "shuffle").glob("*.parquet")):
        with suppress(InputError):
            footer = parquet_footer(path)
            if footer.num_row_groups > 1:
                found["samples_per_shard"] = footer.row_group(0).num_rows
                break
    return found


def config_of(results: Path) -> Path | None:
    """The config that the workflow wrote beside (or, for a crawl's folder, above) the results."""
    for folder in (results, results.resolve().parent):
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    return None
