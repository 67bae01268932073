"""Finds files that must be there, since files that were made from them are.

A stage that has not run is no gap. For example `report.html` without `release/manifest.json` is
one: the report is made from the release, so somebody removed the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from laion_hpc.run import jobs, results
from laion_hpc.run.jobs import Rule


def of(crawl: Path) -> list[str]:
    """The gaps of a crawl, each as a line that names the missing file and one made from it."""
    found: dict[Path, str] = {}
    for rule in jobs.RULES:
        if rule.unit == "dataset":
            continue
        for unit, made in results.paths_by_unit(crawl, rule.done).items():
            for path in _expected(rule, unit):
                if not (crawl / path).exists():
                    found.setdefault(
                        crawl / path,
                        f"{crawl / path}: missing, though {made} was made from it; make it again: "
                        f"snakemake {crawl / path}",
                    )
    return list(found.values())


def _expected(rule: Rule, unit: str) -> Iterator[str]:
    """What must be there if this job is done. The other files are listed in their ledgers."""
    yield from _files(rule, unit)
    for name in rule.needs:
        need = jobs.BY_NAME[name]
        if need is jobs.SETTINGS:
            continue  # a note for Snakemake, which older results lack
        # All units of a finer rule are counted elsewhere. Jobs that a config can do without, such
        # as the images of the release, may never have run.
        if need.wanted in (jobs.always, rule.wanted) and need.unit in (rule.unit, "crawl"):
            yield from _files(need, unit)


def _files(rule: Rule, unit: str) -> Iterator[str]:
    for path in filter(None, (rule.done, rule.ledger)):
        yield path.format(unit=unit)
