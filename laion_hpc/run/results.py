"""A reader of a run's results folder: which ledgers and logs each stage has left where.

For the tools that look at a whole run (audit, status, report); a stage never uses it. The layout
is that of docs/design.md, "Files of a run".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from laion_hpc.errors import UsageError

SUFFIX = ".ledger.json"


@dataclass(frozen=True)
class Layout:
    """Where a stage keeps its ledgers, relative to the folder of the crawl."""

    stage: str
    unit: str
    """What one job makes: a segment or a block."""
    pattern: str
    """Glob of the units' ledgers."""
    reads: tuple[str, ...] = ()
    """Stages whose kept samples, block by block, are this stage's inputs."""
    merged: str = ""
    """The ledger over all units, where the stage has one."""
    tables: str = ""
    """Glob of the ledgers of further tables by block, made from what the stage reads and tags."""


LAYOUTS = {
    layout.stage: layout
    for layout in (
        Layout("extract", "segment", f"extract/*{SUFFIX}"),
        # Not block by block: every block reads a part of every segment.
        Layout("shuffle", "block", f"shuffle/*{SUFFIX}"),
        Layout("download", "block", "download/*/manifest.json", reads=("shuffle",)),
        Layout("filter", "block", "filter/*/manifest.json", reads=("download",)),
        Layout("embed", "block", "embed/*/manifest.json", reads=("filter",)),
        Layout("tag", "block", f"tag/*{SUFFIX}", reads=("embed",)),
        Layout(
            "index",
            "block",
            f"index/blocks/*{SUFFIX}",
            reads=("embed",),
            merged="index/manifest.json",
            tables=f"index/metadata/*{SUFFIX}",
        ),
        Layout(
            "release",
            "block",
            f"release/blocks/*{SUFFIX}",
            reads=("embed", "tag"),
            merged="release/manifest.json",
        ),
    )
}


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
    return folder.is_dir() and any((folder / stage).is_dir() for stage in LAYOUTS)


def unit_ledgers(crawl: Path, stage: str) -> dict[str, Path]:
    """The ledgers of a stage by unit (`0007`, or a segment's name), in the order of the names."""
    return _by_unit(crawl, LAYOUTS[stage].pattern)


def table_ledgers(crawl: Path, stage: str) -> dict[str, Path]:
    """The ledgers of a stage's further tables by block, such as the index's metadata."""
    pattern = LAYOUTS[stage].tables
    return _by_unit(crawl, pattern) if pattern else {}


def _by_unit(crawl: Path, pattern: str) -> dict[str, Path]:
    found = {}
    for path in crawl.glob(pattern):
        name = path.parent.name if path.name == "manifest.json" else path.name
        found[name.removesuffix(SUFFIX)] = path
    return dict(sorted(found.items()))


def shard_ledgers(crawl: Path, stage: str, unit: str) -> list[Path]:
    """Ledgers of the shards of a block, of those stages that resume by shard."""
    folder = crawl / stage / unit
    return sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []


def merged_ledger(crawl: Path, stage: str) -> Path | None:
    """The path of the ledger over all units of a stage, if it has one and it exists."""
    name = LAYOUTS[stage].merged
    return crawl / name if name and (crawl / name).exists() else None


def block_tables(crawl: Path, stage: str) -> list[Path]:
    """The tables of a stage that has one for each block."""
    return sorted((crawl / stage).glob("[0-9][0-9][0-9][0-9].parquet"))


def shard_tables(crawl: Path, stage: str) -> list[Path]:
    """The tables of a stage that has one for each shard, over all blocks."""
    return sorted((crawl / stage).glob("[0-9][0-9][0-9][0-9]/[0-9]*.parquet"))


def config_of(results: Path) -> Path | None:
    """The config that the workflow wrote beside (or, for a crawl's folder, above) the results."""
    for folder in (results, results.resolve().parent):
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    return None
