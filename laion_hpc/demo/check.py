"""Compares a run's results with the truth of the demo's web, and says where they differ."""

from __future__ import annotations

from pathlib import Path

from laion_hpc.demo.verdict import Finding
from laion_hpc.errors import InputError


def check(crawl: Path, truth: Path, config: str | None = None) -> list[Finding]:
    """All findings on the results of a crawl, a folder such as results/demo.

    InputError if results or truth are missing. `config`: YAML of the run; default: the one that
    the workflow wrote beside the results.
    """
    from laion_hpc import config as settings
    from laion_hpc.demo import check_outcomes, check_search
    from laion_hpc.run import results

    if not crawl.is_dir():
        raise InputError(f"{crawl}: no such folder of results; run `laion-hpc demo run` first")
    known = check_outcomes.read_truth(truth)
    own = results.config_of(crawl)
    loaded = settings.load(config or own)
    findings = check_outcomes.of_links(crawl, known)
    findings += check_outcomes.of_scores(crawl, known)
    findings += check_search.of_heads(crawl, known)
    findings.append(check_search.of_index(crawl))
    findings.append(check_search.of_queries(crawl, known, loaded.embed))
    findings.append(check_outcomes.of_release(crawl))
    return findings
