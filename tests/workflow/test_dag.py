"""The workflow plans what it should: whole datasets, single targets, real configs, clusters."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import patience

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STAGES = ["extract", "shuffle", "download", "filter", "embed", "tag", "index", "release", "search"]


def snakemake(*arguments: str, cwd: Path) -> str:
    """Run Snakemake on this repository's Snakefile in `cwd`; its whole output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    done = patience.run([*command, *arguments], cwd=cwd)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def planned(output: str) -> Counter[str]:
    """Jobs per rule from the table that a dry run prints."""
    table = output.split("Job stats:")[1].split("\n\n")[0]
    rows = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
    return Counter({rule: int(n) for rule, n in rows})


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as a fresh clone would be: config and profiles, no results."""
    for name in ("config", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "slurm").symlink_to("profiles/slurm")
    return tmp_path


def test_a_dry_run_of_the_sample_plans_every_stage(site: Path) -> None:
    jobs = planned(snakemake("-n", "--cores", "2", cwd=site))
    assert jobs["extract"] == 1
    for stage in ("shuffle", "download", "filter", "embed", "tag", "index_add", "release_block"):
        assert jobs[stage] == 4, stage
    assert jobs["report_page"] == jobs["index_evaluate"] == jobs["release_gather"] == 1


def test_a_dry_run_of_the_demo_needs_nothing_built(site: Path) -> None:
    jobs = planned(snakemake("-n", "--cores", "2", "--configfile", "config/demo.yaml", cwd=site))
    assert jobs["extract"] == 2
    assert jobs["shuffle"] == 2


def test_several_crawls_are_released_together_and_images_only_where_asked_for(site: Path) -> None:
    config = {
        "crawls": ["demo", "CC-MAIN-2022-40-sample"],
        "dataset": {"blocks": 2},
        "release": {"laion400m_layout": True},
    }
    (site / "two.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(snakemake("-n", "--cores", "2", "--configfile", "two.yaml", cwd=site))
    assert (jobs["release_together"], jobs["release_gather"], jobs["release_images"]) == (1, 2, 4)
    jobs = planned(snakemake("-n", "--cores", "2", "--configfile", "config/demo.yaml", cwd=site))
    assert not jobs["release_together"] and not jobs["release_images"]


def test_the_texts_are_indexed_where_asked_for(site: Path) -> None:
    (site / "texts.yaml").write_text(yaml.safe_dump({"crawls": ["demo"], "index": {"text": True}}))
    arguments = ("-n", "--cores", "2", "--configfile", "texts.yaml", "--set-threads", "tag=1")
    jobs = planned(snakemake(*arguments, "--config", 'dataset={"blocks": 3}', cwd=site))
    steps = ("train", "add", "merge", "evaluate")
    assert [jobs[f"index_text_{step}"] for step in steps] == [1, 3, 1, 1]


def test_the_slurm_profile_works_as_typed(site: Path) -> None:
    jobs = planned(snakemake("--profile", "slurm", "-n", cwd=site))
    assert jobs["filter"] == 4


def test_one_block_of_one_stage_plans_only_what_it_needs(site: Path) -> None:
    target = "results/CC-MAIN-2022-40-sample/filter/0002/manifest.json"
    jobs = planned(snakemake("-n", "--cores", "2", target, cwd=site))
    del jobs["total"]
    assert jobs == {"extract": 1, "shuffle": 1, "download": 1, "filter": 1}


def test_every_named_target_exists(site: Path) -> None:
    targets = {"dataset", "index", "report", *(f"{stage}_all" for stage in STAGES[:-1])}
    jobs = planned(snakemake("-n", "--cores", "2", *sorted(targets), cwd=site))
    assert targets <= set(jobs)


def test_lint_is_clean(site: Path) -> None:
    assert "Congratulations" in snakemake("--lint", cwd=site)


def test_a_whole_crawl_stays_under_ten_thousand_jobs(tmp_path: Path) -> None:
    segments = {
        f"{1640000000000 + n}.{n}": [f"wat/{n:03d}-{k:05d}.warc.wat.gz" for k in range(900)]
        for n in range(100)
    }
    crawls = tmp_path / "config/crawls"
    crawls.mkdir(parents=True)
    lock = {"name": "WHOLE", "prefix": "https://data.example/", "segments": segments}
    (crawls / "WHOLE.json").write_text(json.dumps(lock))
    (tmp_path / "config/config.yaml").write_text("crawls: [WHOLE]\n")
    jobs = planned(snakemake("-n", "--quiet", "rules", "--cores", "2", cwd=tmp_path))
    assert jobs["extract"] == 100
    assert jobs["shuffle"] == 500
    assert jobs["total"] < 10_000


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("filter: {thresholds: {en: 28}}", "filter.thresholds.en"),
        ("crawls: [CC-MAIN-1999-01]", "laion-hpc crawl CC-MAIN-1999-01"),
    ],
)
def test_a_wrong_config_stops_before_anything_is_planned(
    site: Path, config: str, words: str
) -> None:
    (site / "wrong.yaml").write_text(config)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    done = patience.run([*command, "-n", "--configfile", "wrong.yaml"], cwd=site)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_a_target_after_configfile_is_told(site: Path) -> None:
    (site / "made/manifest.json").parent.mkdir()
    (site / "made/manifest.json").write_text('{"stage": "filter", "inputs": 3}')
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n"]
    given = ["--configfile", "config/config.yaml", "made/manifest.json"]
    done = patience.run([*command, *given], cwd=site)
    assert done.returncode != 0
    assert "made/manifest.json: a target after --configfile" in done.stdout + done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_everywhere(stage: str) -> None:
    assert (ROOT / "rules" / f"{stage}.smk").exists()
    assert (ROOT / "laion_hpc/stages" / stage / "command.py").exists()
    assert list((ROOT / "tests/stages" / stage).glob("test_*.py"))
    assert f"| `{stage}` |" in (ROOT / "README.md").read_text()
