"""The workflow at the size of a whole crawl, and after small changes: what a dry run lists."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from laion_hpc.config import Config
from laion_hpc.run import jobs as table
from laion_hpc.run.plan import model, rates
from tests import patience
from tests.workflow.test_dag import ROOT, planned, snakemake

pytestmark = pytest.mark.slow

CRAWL = "SMALL"
BLOCKS = 3
CONFIG = {"crawls": [CRAWL], "dataset": {"blocks": BLOCKS}}


def lock(folder: Path, name: str, segments: int, wats: int) -> None:
    """A lock file of a crawl of that size."""
    paths = {
        f"{1640000000000 + n}.{n}": [f"wat/{n:03d}-[00000-{wats - 1:05d}].warc.wat.gz"]
        for n in range(segments)
    }
    folder.mkdir(parents=True, exist_ok=True)
    data = {"name": name, "prefix": "https://data.example/", "segments": paths}
    (folder / f"{name}.json").write_text(json.dumps(data))


def write_config(site: Path, **changes: object) -> None:
    """Write the config of a small dataset with some keys changed."""
    (site / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))


def dry_run(site: Path, *targets: str) -> Counter[str]:
    """Jobs per rule that a dry run lists, less the targets that only name others."""
    output = snakemake("-n", "--cores", "2", *targets, cwd=site)
    if "Nothing to be done" in output:
        return Counter()
    jobs = planned(output)
    for name in ("total", "all", "index", "dataset", "report"):
        del jobs[name]
    return jobs


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site where every job has run, as far as Snakemake can tell."""
    site = tmp_path_factory.mktemp("done")
    lock(site / "config/crawls", CRAWL, segments=2, wats=2)
    write_config(site)
    for line in snakemake("--summary", "--cores", "1", cwd=site).splitlines():
        path = site / line.split("\t")[0]
        if line.startswith("results/"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    snakemake("--touch", "--forceall", "--cores", "1", cwd=site)
    return site


@pytest.fixture
def site(done: Path) -> Path:
    """The same, with its config as it was when the jobs ran."""
    write_config(done)
    return done


def test_nothing_is_left_to_do_when_all_is_done(site: Path) -> None:
    assert not dry_run(site)


def test_one_block_after_one_stage_lists_that_block_only(site: Path) -> None:
    again = f"results/{CRAWL}/filter/0001/manifest.json"
    jobs = dry_run(site, f"results/{CRAWL}/tag/0001.parquet", "--forcerun", again)
    assert jobs == {"filter": 1, "embed": 1, "tag": 1}


def test_the_whole_after_one_block_lists_what_reads_that_block(site: Path) -> None:
    jobs = dry_run(site, "all", "--forcerun", f"results/{CRAWL}/filter/0001/manifest.json")
    of_the_block = dict.fromkeys(
        ("filter", "embed", "tag", "index_add", "index_metadata", "release_block"), 1
    )
    # Not index_train: the cells that were learnt from the samples of all blocks stay.
    of_the_crawl = dict.fromkeys(
        ("index_merge", "index_evaluate", "release_gather", "report_page"), 1
    )
    assert jobs == {**of_the_block, **of_the_crawl}


def test_a_changed_subset_lists_the_release_and_the_report_only(site: Path) -> None:
    subset = {"name": "wide", "where": "WIDTH >= 2000"}
    write_config(site, release={"subsets": [subset]})
    jobs = dry_run(site)
    assert jobs == {"release_block": BLOCKS, "release_gather": 1, "report_page": 1}


def test_a_changed_threshold_lists_nothing_before_filter(site: Path) -> None:
    write_config(site, filter={"thresholds": "laion400m"})
    jobs = dry_run(site)
    assert jobs["filter"] == jobs["embed"] == BLOCKS
    assert not {"extract", "shuffle", "download"} & set(jobs)


def test_a_change_survives_a_stage_that_failed(site: Path) -> None:
    """Snakemake deletes the manifest of a job that failed. The change must stay planned."""
    manifest = site / f"results/{CRAWL}/filter/0001/manifest.json"
    times = manifest.stat()
    manifest.unlink()
    try:
        write_config(site, filter={"thresholds": "laion400m"})
        jobs = dry_run(site)
    finally:
        manifest.touch()
        os.utime(manifest, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert jobs["filter"] == jobs["embed"] == jobs["tag"] == jobs["release_block"] == BLOCKS
    assert jobs["index_train"] == 1
    assert not {"extract", "shuffle", "download"} & set(jobs)


def test_changed_heads_do_not_train_the_index_again(site: Path) -> None:
    write_config(site, tag={"heads": []}, release={"subsets": []})
    jobs = dry_run(site)
    assert jobs["tag"] == jobs["index_metadata"] == jobs["release_block"] == BLOCKS
    assert not {"embed", "index_train", "index_add"} & set(jobs)


def test_another_crawl_runs_nothing_of_the_first(site: Path) -> None:
    lock(site / "config/crawls", "SECOND", segments=1, wats=1)
    write_config(site, crawls=[CRAWL, "SECOND"])
    both = {name: jobs for name, jobs in dry_run(site).items() if name != "release_together"}
    write_config(site, crawls=["SECOND"])
    assert both == dry_run(site)


def test_a_runtime_key_lists_nothing(site: Path) -> None:
    write_config(site, download={"connections": 17})
    assert not dry_run(site)


# From a small process of its own: a child's peak begins with that of the process it is forked from.
PEAK_OF = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_a_whole_crawl_is_planned_in_bounded_memory_and_as_plan_says(tmp_path: Path) -> None:
    lock(tmp_path / "config/crawls", "WHOLE", segments=100, wats=900)
    (tmp_path / "config/config.yaml").write_text("crawls: [WHOLE]\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    done = patience.run(
        [sys.executable, "-c", PEAK_OF, *command, "-n", "--quiet", "rules", "--cores", "2"],
        cwd=tmp_path,
        merged=True,
    )
    assert done.returncode == 0, done.stdout
    jobs = planned(done.stdout)
    peak = int(done.stdout.split()[-1])
    assert peak < 500_000  # KiB; docs/scaling.md has the seconds
    size = model.size_of(rates.load(), crawls=1, segments=100, wats=90_000)
    for rule in table.of_config(Config(), crawls=1):
        assert jobs[rule.name] == model.jobs_of(rule, size, blocks=500), rule.name
    assert jobs["total"] < 10_000
