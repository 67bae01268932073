"""The demo on SLURM, by the three commands of docs/cluster.md, with the bytes of a local run.

The local run keeps no candidate images, the one on SLURM does: what follows is the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from laion_hpc.runtime.usage import Usage
from tests import patience
from tests.demo_runs import ROOT
from tests.slurm.conftest import demand_cluster
from tests.slurm.documented import Demo, Newcomer, commands

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def demo(newcomer: Newcomer | None) -> Demo:
    demand_cluster()
    assert newcomer is not None
    return newcomer.demo.result()


def results(folder: Path) -> Path:
    return folder / "results" / "demo"


def products(folder: Path) -> dict[str, bytes]:
    """Everything that a run made but what tells of time."""
    top = results(folder)
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
        and path.relative_to(top).parts[0] not in ("logs", "benchmarks", "report.html", "report")
        and not path.name.endswith("_stats.json")
    }


def run(folder: Path, *arguments: str) -> str:
    done = patience.run([sys.executable, "-m", *arguments], cwd=folder, merged=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def removed(folder: Path) -> set[str]:
    """What the blocks' removed.json name."""
    listed = results(folder).glob("download/*/removed.json")
    return {
        f"download/{path.parent.name}/{entry['name']}"
        for path in listed
        for entry in json.loads(path.read_text())["files"]
    }


def test_three_commands_lead_to_the_report(demo: Demo) -> None:
    assert len(commands()) == 3
    assert (results(demo.cluster) / "report.html").stat().st_size > 10_000
    assert "Against the truth" in demo.said
    assert "results/demo/report.html" in demo.said


def test_slurm_gives_the_bytes_of_a_local_run(demo: Demo) -> None:
    here, cluster = products(demo.here), products(demo.cluster)
    gone = removed(demo.here)
    assert gone and all(name.endswith(".tar") for name in gone)
    assert not gone & here.keys() and gone <= cluster.keys()
    apart = {name for name in here if name.endswith("removed.json")}
    assert here.keys() - apart == cluster.keys() - gone
    assert [name for name in here.keys() - apart if here[name] != cluster[name]] == []


def test_without_candidate_images_nothing_is_missed_or_made_again(demo: Demo) -> None:
    assert not list(results(demo.here).glob("download/*/*.tar"))
    run(demo.here, "laion_hpc", "audit", "results", "--checksums", "--complete")
    workflow = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml")
    profile = str(ROOT / "profiles" / "local")
    said = run(demo.here, "snakemake", "-n", "--profile", profile, *workflow)
    assert "Nothing to be done" in said


def test_the_audit_of_the_run_on_slurm_is_clean(demo: Demo) -> None:
    run(demo.cluster, "laion_hpc", "audit", "results", "--checksums", "--complete")


def test_each_rule_had_its_partition_nodes_and_gpus(demo: Demo) -> None:
    jobs = demo.jobs
    assert {job.state for of_rule in jobs.values() for job in of_rule} == {"COMPLETED"}
    for rule in ("extract", "shuffle", "download", "index_merge", "release_block"):
        assert {job.partition for job in jobs[rule]} == {"cpu"}, rule
    for rule, gpus in (("filter", "4"), ("embed", "4"), ("tag", "1"), ("index_train", "1")):
        assert {job.partition for job in jobs[rule]} == {"a100"}, rule
        assert {job.tres["gres/gpu"] for job in jobs[rule]} == {gpus}, rule
    assert {job.nodes for job in jobs["extract"]} == {"cpu[1-2]"}


def test_logs_name_their_job_and_what_its_ranks_used(demo: Demo) -> None:
    logs = results(demo.cluster) / "logs"
    for stage, nodes in (("extract", "cpu[1-2]"), ("embed", "a100-1")):
        numbers = {job.number for job in demo.jobs[stage]}
        for log in (logs / stage).glob("*.log"):
            said = log.read_text()
            number = said.split("SLURM job ")[1].split()[0]
            assert number in numbers
            numbers.remove(number)
            assert said.count(f"SLURM job {number} on {nodes}\n") == 1
            used = Usage.of_log(log)
            assert used is not None
            assert used.ranks == 2
            # More than srun has, which is all that Snakemake sees.
            assert used.cpu_seconds > 0.5
            assert used.peak_mb > 100
        assert not numbers


def test_the_profile_is_that_of_the_repository_with_fewer_ranks() -> None:
    mine, theirs = (
        yaml.safe_load((ROOT / "profiles" / name / "config.v8+.yaml").read_text())
        for name in ("test_cluster", "slurm")
    )
    for key in ("max-jobs-per-timespan", "slurm-init-seconds-before-status-checks"):
        theirs[key] = mine[key]
    ranks = {"nodes", "tasks", "tasks_per_node", "launcher"}
    for rule in ("extract", "embed"):
        resources = mine["set-resources"][rule]
        theirs["set-resources"][rule] |= {key: resources[key] for key in ranks & resources.keys()}
    assert mine == theirs
