"""What `laion-hpc demo run` says at its end: the funnel, the check, and where to go from here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from laion_hpc.demo import verdict
from laion_hpc.files import ledger
from laion_hpc.run import jobs, results
from laion_hpc.runtime import console

_SHOWN_REASONS = 4


def show(
    crawl: Path, findings: Sequence[verdict.Finding], config_path: Path, seconds: float
) -> None:
    """Print it."""
    console.out("\nThe funnel (links, then images)")
    for line in funnel(crawl):
        console.out(f"  {line}")
    console.out("\nAgainst the truth")
    verdict.show(findings)
    config = os.path.relpath(config_path)
    blocks = f"{crawl}/filter/*"
    console.out(f"""
Done in {seconds:.0f} s. Now
  look at the report       {crawl}/report.html
  search it                laion-hpc search {crawl}/index --images {blocks}
  prove it                 laion-hpc audit {crawl}
  see the DAG              snakemake -n --configfile {config}
  go to a real crawl       README.md, "A real crawl"; config/config.yaml
Type `. .venv/bin/activate` first if your shell does not know laion-hpc.""")


def funnel(crawl: Path) -> list[str]:
    """A line per stage: what came in, what was kept, the most frequent reasons of the rest."""
    rows = [("stage", "in", "kept", "", "dropped, most of them for")]
    for stage in jobs.STAGES:
        books = [ledger.read(path) for path in results.unit_ledgers(crawl, stage).values()]
        if not books:
            continue
        inputs, kept = sum(book.inputs for book in books), sum(book.kept for book in books)
        dropped: Counter[str] = Counter()
        for book in books:
            dropped.update(book.dropped)
        top = [f"{reason} {number:,}" for reason, number in dropped.most_common(_SHOWN_REASONS)]
        rest = len(dropped) - len(top)
        reasons = ", ".join(top) + (f" and {rest} more reasons" if rest > 0 else "")
        share = f"{kept / inputs:.1%}" if inputs else ""
        rows.append((stage, f"{inputs:,}", f"{kept:,}", share, reasons))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
